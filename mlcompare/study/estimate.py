"""How long a study will take, from a few steps and one scoring."""

from __future__ import annotations

import dataclasses

from mlcompare.errors import StudyFileError
from mlcompare.execution.devices import cpu_count
from mlcompare.search.proposals import default_values
from mlcompare.study.nested import is_nested
from mlcompare.study.plan import StudyPlan
from mlcompare.training import TrainingResult, train

__all__ = ["estimate"]

PROBE_STEPS = 5


def estimate(plan: StudyPlan) -> str:
    """Train the first loss for a few steps, score it once, and scale up; one line of text.

    Raises:
        StudyFileError: that training fails.
    """
    name, loss = next(iter(plan.losses.items()))
    job = plan.trial_jobs(name, 0, default_values(loss.space))[0]

    def probe(steps: int, scored: bool = False) -> TrainingResult:
        training = job.training.replaced(steps=steps, evaluations=0, select="last")
        return train(dataclasses.replace(job, training=training), plan.data, scored=scored)

    first = probe(1)  # also pays for imports
    short, long = (probe(1), probe(1 + PROBE_STEPS)) if first.status == "ok" else (first, first)
    whole = probe(1, scored=True) if first.status == "ok" else first
    if any(result.status != "ok" for result in (whole, short, long)):
        cure = "fix the loss or its setting: its trainings would fail"
        reason = whole.reason or long.reason or short.reason
        raise StudyFileError("a short training must run", value=reason, cure=cure, place=f"{plan.place}: losses.{name}")
    step = max((long.seconds - short.seconds) / PROBE_STEPS, 1e-5)
    scoring = max(whole.seconds - short.seconds, 0.0)
    fold = plan.data.splits.folds[0]
    along = plan.training.evaluations * len(fold.along) / len(fold.scored)  # scorings of the learning curve
    each = short.seconds + step * plan.training.steps + scoring * (1 + along)
    workers = cpu_count()
    parts = (plan.config.protocol.outer_folds or 1) if is_nested(plan.config) else 1
    total = parts * sum(plan.count().values()) * each / workers
    memory = long.peak_memory / 2**20
    return (
        f"about {each:.1f} s a training ({name}, {1000 * step:.1f} ms a step), {total / 60:.1f} min in all with "
        f"{workers} workers; about {memory:.0f} MB a worker"
    )
