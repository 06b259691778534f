"""How long a study will take, from a few steps and one scoring of each loss."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from math import log
from statistics import fmean
from typing import Any

from mlcompare.errors import StudyFileError
from mlcompare.execution.devices import cpu_count
from mlcompare.search.proposals import default_values
from mlcompare.search.space import Choice, Range
from mlcompare.study.baseline_costs import baseline_seconds
from mlcompare.study.engine import choose_engine
from mlcompare.study.nested import is_nested
from mlcompare.study.plan import StudyPlan
from mlcompare.training import TrainingResult, train
from mlcompare.training.job import OUT_OF_MEMORY

__all__ = ["CAUTION", "CONSTANT", "SETTINGS", "Costs", "Estimate", "estimate", "measure"]

PROBE_STEPS = 5
SETTINGS = 2  # selected and default
CONSTANT = 15.0  # seconds for workers to start, and for the report
CAUTION = 1.5  # workers side by side are slower than one training alone, and the machine does other things too


@dataclass(frozen=True)
class Costs:
    """Seconds that a training takes to begin, for each step, and to be scored on validation; bytes of memory."""

    start: float
    step: float
    scoring: float
    memory: int

    def of_training(self, steps: float, scorings: float) -> float:
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
        reason = whole.reason or long.reason or short.reason
        cure = "fix the loss or its setting: its trainings would fail"
        if reason == OUT_OF_MEMORY:
            size = job.training.microbatch or job.training.classes_per_batch * job.training.samples_per_class
            cure = f"a narrower encoder, smaller samples, or training.microbatch below {size}"
        raise StudyFileError("a short training must run", value=reason, cure=cure, place=f"{plan.place}: losses.{name}")
    step = max((long.seconds - short.seconds) / PROBE_STEPS, 1e-5)
    return Costs(short.seconds, step, max(whole.seconds - short.seconds, 0.0), long.peak_memory)


@dataclass(frozen=True)
class Estimate:
    """Seconds of a study by what they are spent on, those of a training of each loss, and bytes of a worker's memory.

    ``search`` is what it takes where no race ends a setting early; ``engine`` says why populations are trained, or not.
    """

    each: dict[str, float]
    search: float
    finals: float
    baselines: float
    workers: int
    memory: int
    parts: int
    engine: str

    @property
    def minutes(self) -> float:
        """All of it, starting and reporting included."""
        return (self.parts * (CAUTION * (self.search + self.finals + self.baselines) / self.workers + CONSTANT)) / 60

    def __str__(self) -> str:
        slowest = max(self.each, key=lambda name: self.each[name])
        trainings = ", ".join(f"{name} {seconds:.2g}" for name, seconds in self.each.items())
        total = self.search + self.finals + self.baselines
        shares = ", ".join(
            f"{seconds / total:.0%} {what}"
            for what, seconds in (("search", self.search), ("final", self.finals), ("baselines", self.baselines))
            if seconds
        )
        return (
            f"about {self.minutes:.1f} min with {self.workers} workers ({shares}); {self.engine}\n"
            f"seconds of a training: {trainings}; {slowest} takes longest; about {self.memory / 2**20:.0f} MB a worker"
        )


def estimate(plan: StudyPlan) -> Estimate:
    """Time each loss (:func:`measure`) and the engine, and add up what the study consists of.

    Raises:
        StudyFileError: a short training fails.
    """
    engine = choose_engine(plan)
    fold, config = plan.data.splits.folds[0], plan.config
    along = plan.training.evaluations * len(fold.along) / len(fold.scored)  # scorings of the learning curve
    test = (len(plan.data.splits.test) / len(fold.scored)) ** 1.5  # between embedding and comparing all pairs
    folds, trials, seeds = len(plan.folds), config.search.trials, config.final.seeds
    measured = {name: measure(plan, name) for name in plan.losses}
    each, search, finals = {}, 0.0, 0.0
    for name, costs in measured.items():
        loss = plan.losses[name]
        faster = engine.faster if engine.populations and loss.entry.batched else 1.0
        steps = _mean(loss.space.get("steps", plan.training.steps))
        alone = costs.of_training(steps, 0) / faster  # members of a population are scored one by one
        each[name] = alone + costs.scoring * (1 + along)
        search += trials * folds * each[name]
        finals += (1 if trials == 1 else SETTINGS) * folds * seeds * (alone + costs.scoring * (along + test))
    scoring = fmean(costs.scoring for costs in measured.values()) * test
    memory = max(costs.memory for costs in measured.values())
    return Estimate(
        each, search, finals, baseline_seconds(plan, scoring), _workers(plan), memory,
        (config.protocol.outer_folds or 1) if is_nested(config) else 1, engine.why,
    )  # fmt: skip


def _mean(dimension: Any) -> float:
    """The mean of what a search draws at random.

    >>> _mean(40), _mean(Choice((50, 150), 50)), round(_mean(Range(10, 1000, 10, log=True)), 1)
    (40.0, 100.0, 215.0)
    """
    if isinstance(dimension, Choice):
        return fmean(dimension.values)
    if isinstance(dimension, Range):
        low, high = dimension.low, dimension.high
        return (high - low) / log(high / low) if dimension.log else (low + high) / 2
    return float(dimension)


def _workers(plan: StudyPlan) -> int:
    """How many trainings `run` has at a time, where it isn't told: one on a GPU, else what the cores hold."""
    return 1 if plan.device != "cpu" else max(cpu_count() // (plan.threads * plan.config.training.ranks), 1)
