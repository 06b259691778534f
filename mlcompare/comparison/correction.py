"""Many comparisons at once: Holm's p-values, and intervals that hold together."""

from __future__ import annotations

import numpy as np

from mlcompare.comparison.random_effects import Means

__all__ = ["holm", "simultaneous_intervals"]


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's step-down adjustment of ``(P,)`` p-values: the chance of any false rejection stays below the level.

    Holm 1979. NaN stays NaN and doesn't count as a test.

    >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.06, 0.06]
    """
    p_values = np.asarray(p_values, dtype=float)
    adjusted = np.full(len(p_values), np.nan)
    order = np.argsort(p_values)[: int((~np.isnan(p_values)).sum())]  # NaN sorts last
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    return adjusted


def simultaneous_intervals(found: Means, p_holm: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Return low and high ``(P,)`` of intervals that all hold at once with probability ``confidence``.

    Bonferroni's, each at ``1 - (1 - confidence) / P``. Holm's test is a little sharper: where it rejects and
    Bonferroni's interval would still reach across zero, the interval ends at zero. So zero lies strictly inside exactly
    where the corrected p-value is above ``1 - confidence``.
    """
    level = 1.0 - confidence
    low, high = found.intervals(1.0 - level / max(int((~np.isnan(p_holm)).sum()), 1))
    rejected = p_holm <= level
    low = np.where(rejected & (found.mean > 0), np.maximum(low, 0.0), low)
    return low, np.where(rejected & (found.mean < 0), np.minimum(high, 0.0), high)
