"""Who was past its best when training stopped: the counterpart of who was still rising."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

__all__ = ["Decline", "decline", "past_best_notes"]


@dataclass(frozen=True)
class Decline:
    """How far a loss's validation fell from its best step to its last.

    Attributes:
        best_step, last_step: where the mean was best, and where training stopped.
        drop: how much worse the mean was at the end, positive; ``error`` is its standard error over folds.
    """

    best_step: int
    last_step: int
    drop: float
    error: float

    def record(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def decline(values: np.ndarray, steps: tuple[int, ...], *, tolerance: float, level: float) -> Decline | None:
    """Return how far a loss fell from its best step, or None where it didn't, or it can't be told.

    ``values (F, P)`` are larger where better: one row for each fold (the mean over its seeds), one column for each of
    the ``steps``. The drop d of a fold is its value at the earlier step whose mean is best, less its value at the end.
    A loss was past its best where the mean drop exceeds the tolerance and is told apart from zero by a one-sided t-test
    over folds, Bonferroni-corrected for the P − 1 earlier steps that the best is picked from::

        d > tolerance   and   d > t(1 − level / (P − 1); F − 1) · s / √F

    with s the standard deviation of the drops. On curves that are flat in truth it is wrong in at most ``level`` of all
    cases (by simulation, of 5 steps: .02 to .04 for 2 to 10 folds, less with unequal noise). A peak of three standard
    deviations of one fold's noise is found in .09, .30, .60, .83 and 1.00 of all cases with 2, 3, 4, 5 and 10 folds.

    >>> values = np.array([[0.5, 0.7, 0.6], [0.4, 0.61, 0.5], [0.5, 0.7, 0.61], [0.45, 0.66, 0.56]])
    >>> decline(values, (10, 20, 30), tolerance=0.002, level=0.05).best_step
    20
    >>> decline(values[:, :2], (10, 20), tolerance=0.002, level=0.05)
    """
    folds, points = values.shape
    if folds < 2 or points < 2 or not np.isfinite(values).all():
        return None
    best = int(values[:, :-1].mean(axis=0).argmax())
    drops = values[:, best] - values[:, -1]  # (F,)
    drop, error = float(drops.mean()), float(drops.std(ddof=1) / math.sqrt(folds))
    if drop <= max(tolerance, stdtrit(folds - 1, 1 - level / (points - 1)) * error):
        return None
    return Decline(steps[best], steps[-1], drop, error)


def past_best_notes(declines: Mapping[str, Decline | None]) -> Iterator[str]:
    """Yield what a comparison notes of losses that were past their best: one sentence, or nothing.

    >>> list(past_best_notes({"arcface": Decline(20, 50, 0.031, 0.004), "triplet": None}))  # doctest: +ELLIPSIS
    ['arcface is past its best: its validation mean fell by 0.031 from step 20 to 50; consider `training.select: b...
    """
    fell = {loss: found for loss, found in declines.items() if found is not None}
    told = [
        f"{loss} is past its best: its validation mean fell by {found.drop:.3f} from step {found.best_step} to "
        f"{found.last_step}"
        for loss, found in fell.items()
    ]
    if told:
        yield f"{'; '.join(told)}; consider `training.select: best` or fewer steps."
