"""How long a study will take, from a few steps and one scoring."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from mlcompare.errors import StudyFileError
from mlcompare.execution.devices import cpu_count
from mlcompare.search.proposals import default_values
from mlcompare.study.nested import is_nested
from mlcompare.study.plan import StudyPlan
from mlcompare.training import TrainingResult, train

__all__ = ["Costs", "estimate", "measure"]

PROBE_STEPS = 5


@dataclass(frozen=True)
class Costs:
    """Seconds that a training takes to begin, for each step, and to be scored on validation; bytes of memory."""

    start: float
    step: float
    scoring: float
    memory: int

    def of_training(self, steps: int, scorings: float) -> float:
        """Return the seconds of a training that is scored so many times.

        >>> Costs(1.0, 0.1, 0.5, 0).of_training(10, 2)
        3.0
        """
        return self.start + self.step * steps + self.scoring * scorings


def measure(plan: StudyPlan, name: str) -> Costs:
    """Train a loss of the plan for a few steps and score it once.

    Raises:
        StudyFileError: that training fails.
    """
    job = plan.trial_jobs(name, 0, default_values(plan.losses[name].space))[0]

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
    return Costs(short.seconds, step, max(whole.seconds - short.seconds, 0.0), long.peak_memory)


def estimate(plan: StudyPlan) -> str:
    """Time the first loss (:func:`measure`) and scale up; one line of text.

    Raises:
        StudyFileError: that training fails.
    """
    name = next(iter(plan.losses))
    costs, fold = measure(plan, name), plan.data.splits.folds[0]
    along = plan.training.evaluations * len(fold.along) / len(fold.scored)  # scorings of the learning curve
    each = costs.of_training(plan.training.steps, 1 + along)
    workers = cpu_count()
    parts = (plan.config.protocol.outer_folds or 1) if is_nested(plan.config) else 1
    total = parts * sum(plan.count().values()) * each / workers
    return (
        f"about {each:.1f} s a training ({name}, {1000 * costs.step:.1f} ms a step), {total / 60:.1f} min in all with "
        f"{workers} workers; about {costs.memory / 2**20:.0f} MB a worker"
    )
