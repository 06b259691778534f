"""How many losses, trials, seeds and steps fit into some minutes, by what trainings take on this machine."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mlcompare.data import Splits
from mlcompare.execution.devices import cpu_count
from mlcompare.registry import FIRST_COMPARISON
from mlcompare.study.estimate import CAUTION, CONSTANT, SETTINGS, Costs, measure
from mlcompare.study.plan import StudyPlan

__all__ = ["Budget", "Timed", "fit_budget", "time_plan"]

TIMED = ("softmax", "trihard")
TIERS = (  # losses, trials, seeds, steps: from the least that compares anything to more than most need
    (2, 3, 1, 30), (4, 4, 1, 40), (6, 5, 2, 50), (8, 6, 2, 60), (10, 6, 2, 80), (10, 8, 2, 120), (10, 12, 2, 200),
    (10, 16, 2, 300), (10, 20, 3, 500), (10, 30, 3, 1000), (10, 40, 5, 2000), (10, 60, 5, 4000),
)  # fmt: skip
ENOUGH, PLENTY = 4, 6  # tiers that hold enough for a slower encoder, and so much that one is timed at all
PASSES = 200  # over the training samples that steps make at most


@dataclass(frozen=True)
class Timed:
    """What a plan's trainings take: their costs, and how much longer the sealed samples take than validation does."""

    costs: Costs
    along: float  # scorings of the learning curve, in scorings at the end
    test: float
    folds: int
    baselines: int
    workers: int

    def seconds(self, losses: int, trials: int, seeds: int, steps: int) -> float:
        """Return the seconds that a study with this budget takes in all."""
        search = trials * self.costs.of_training(steps, 1 + self.along)
        final = SETTINGS * seeds * self.costs.of_training(steps, self.along + self.test)
        others = self.baselines * self.costs.scoring * self.test
        return CONSTANT + CAUTION * (losses * self.folds * (search + final) + others) / self.workers


@dataclass(frozen=True)
class Budget:
    """What was chosen, and the minutes that it takes; ``tier`` says how much that is."""

    losses: tuple[str, ...]
    trials: int
    seeds: int
    steps: int
    minutes: float
    tier: int


def time_plan(plan: StudyPlan, whole: Splits) -> Timed:
    """Time one loss of each family on ``plan``, which may hold a part of the samples of the ``whole``.

    Raises:
        StudyFileError: a training fails.
    """
    each = [measure(plan, name) for name in TIMED]
    fold, full = plan.data.splits.folds[0], whole.folds[0]
    grown = len(full.scored) / len(fold.scored)
    costs = Costs(
        start=_mean(cost.start for cost in each), step=_mean(cost.step for cost in each),
        scoring=grown * _mean(cost.scoring for cost in each), memory=max(cost.memory for cost in each),
    )  # fmt: skip
    along = plan.training.evaluations * len(full.along) / len(full.scored)
    test = (len(whole.test) / len(full.scored)) ** 1.5  # between embedding and comparing all pairs
    workers = cpu_count() if plan.device == "cpu" else 1
    return Timed(costs, along, test, len(whole.folds), plan.count()["baseline"], workers)


def _mean(values: Iterable[float]) -> float:
    return statistics.fmean(values)


def fit_budget(timed: Timed, minutes: float, *, samples: int, batch: int) -> Budget:
    """Return the largest budget that the minutes hold; the smallest of all where they hold none.

    Args:
        samples: how many a fold trains on.
        batch: samples of a step.
    """
    seconds = 60 * minutes
    fitting = [number for number, tier in enumerate(TIERS) if timed.seconds(*tier) <= seconds]
    number = max(fitting, default=0)
    losses, trials, seeds, least = TIERS[number]
    most = min(4 * least, max(least, PASSES * samples // batch))
    steps = _largest(lambda steps: timed.seconds(losses, trials, seeds, steps) <= seconds, least, most)
    steps = max(least, steps // (scale := 10 ** max(len(str(steps)) - 2, 0)) * scale)  # two digits say enough
    took = timed.seconds(losses, trials, seeds, steps) / 60
    return Budget(FIRST_COMPARISON[:losses], trials, seeds, steps, took, number)


def _largest(fits: Callable[[int], bool], low: int, high: int) -> int:
    """Return the largest number up to ``high`` that fits; ``low`` where none does."""
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
