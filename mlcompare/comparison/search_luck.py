"""How far from its score another search of as many trials may leave a loss: what is told of one search's luck."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

from mlcompare.comparison.sentences import listed

__all__ = ["luck_by_loss", "luck_margin", "luck_note", "search_luck", "within_luck"]

STRETCH = 2.0  # by simulation: resampled trials never hold what the search didn't find


def search_luck(values: np.ndarray | Sequence[float], trials: int | None = None) -> float | None:
    """Return the standard deviation of the score that another search of the same budget ends with.

    ``values`` are the validation scores of the trials that ran whole, larger is better; ``trials`` are all of them
    (those that failed, or were stopped because they were behind, can't win). If the n trials are drawn again
    from themselves, with replacement, the k-th best of them wins with probability::

        p(k) = (1 − (k − 1)/n)ⁿ − (1 − k/n)ⁿ

    so the winner's score has the variance ``Σ p(k) v(k)² − (Σ p(k) v(k))²``. Its root is doubled: no resampling finds a
    setting that the search has missed. In simulation (``tests/benchmarks/search_luck.py``: 96 tables of measured
    settings, two searches that saw other folds, 6 to 20 trials, raced or not) intervals of that width hold 92 to 99 %
    of the differences between the two searches where 95 % are wanted; without the doubling, 75 to 94 %.

    None with fewer than two trials in all, or none that ran whole.

    >>> round(search_luck([0.70, 0.69, 0.60, 0.40]), 4)
    0.059
    >>> search_luck([0.7] * 12)
    0.0
    """
    scores = np.sort(np.asarray(values, dtype=float))[::-1]
    n = max(len(scores), trials or 0)
    if n < 2 or not len(scores):
        return None
    rank = np.arange(len(scores))
    share = (1 - rank / n) ** n - (1 - (rank + 1) / n) ** n
    share /= share.sum()
    mean = float(share @ scores)
    return STRETCH * math.sqrt(float(share @ (scores - mean) ** 2))


def luck_by_loss(trials: pd.DataFrame, *, higher: bool = True) -> dict[str, float]:
    """Return loss → :func:`search_luck`.

    Args:
        trials: as :func:`~mlcompare.comparison.trials.trial_scores` returns them.
        higher: whether larger scores are better.
    """
    sign, found = 1.0 if higher else -1.0, {}
    for loss, mine in trials.groupby("loss", sort=False):
        luck = search_luck(sign * mine["value"].dropna().to_numpy(dtype=float), len(mine))
        if luck is not None:
            found[str(loss)] = luck
    return found


def luck_margin(a: float | None, b: float | None, confidence: float = 0.95) -> float | None:
    """Return how far other searches of two losses may change their difference: ``z √(a² + b²)``.

    None where one of them is unknown.

    >>> round(luck_margin(0.003, 0.004), 4)
    0.0098
    """
    if a is None or b is None:
        return None
    return NormalDist().inv_cdf(0.5 + confidence / 2) * math.hypot(a, b)


def within_luck(rows: Sequence[Mapping[str, Any]], best: str | None, confidence: float) -> dict[str, float]:
    """Return the losses that are told apart from the best by less than other searches may change, each with how far."""
    leader = next((row for row in rows if row["loss"] == best), None)
    if leader is None:
        return {}
    found = {}
    for row in rows:
        margin = luck_margin(leader["search_luck"], row["search_luck"], confidence)
        if row["indistinguishable_from_best"] is False and margin and abs(row["difference_to_best"]) <= margin:
            found[row["loss"]] = margin
    return found


def luck_note(rows: Sequence[Mapping[str, Any]], best: str | None, confidence: float) -> str | None:
    """Name the losses of :func:`within_luck`; None where there are none."""
    within = within_luck(rows, best, confidence)
    if not within:
        return None
    low, high = (f"{value:.3f}" for value in (min(within.values()), max(within.values())))
    spread = f"±{low}" if low == high else f"±{low} to ±{high}"
    which = "that difference" if len(within) == 1 else "those differences"
    verb = "is" if len(within) == 1 else "are"
    trials = next(row["trials"] for row in rows if row["loss"] == best)
    return (
        f"Luck of the search: {listed(list(within))} {verb} told apart from {best}, but another search of {trials} "
        f"trials may change {which} by {spread}, which no interval counts."
    )
