"""How sure a mean is, where test classes, folds and the seeds within a fold are all drawn by chance.

A score of class c in fold f with seed s is ``μ + class + fold + seed within fold + rest``. Classes and folds are
crossed, for every fold's model is tested on the same sealed classes; seeds are nested in folds. Seeds of one fold share
its training classes, so they are averaged first, ``y[c, f]``, and a two-way layout with one score in a cell remains:

    Var(mean) = (MS_fold + max(MS_class - MS_rest, 0)) / (C F)

as multi-reader multi-case studies have it, with folds as readers (Obuchowski & Rockette 1995; Hillis 2007). The first
term has F - 1 degrees of freedom, the second C - 1, and with few folds no single t distribution fits their sum. At 5 %
the critical value lies between Satterthwaite's (1946), under which intervals are too short where folds are few, and the
weighted mean of the two t quantiles of Cochran (1964), under which they are a little too long; with two folds it is
Cochran's. At smaller levels, which corrections for many comparisons ask for, the larger quantile counts for more.
``tests/benchmarks/calibration.py`` measures what comes of it, over 600 designs.

In a nested study each part of the classes is sealed once, and the folds of a part are tested on its classes alone:
classes × folds are crossed within B parts. The mean squares are pooled over the parts, with C - B and F - B degrees of
freedom (F counts the folds of all parts), and each score stands once:

    Var(mean) = max(MS_fold + max(MS_class - MS_rest, 0), MS_part) / (C F / B)

where MS_part is that of the parts' means: each part has a search of its own, so what one search found by luck is common
to its folds. Where it is larger it has B - 1 degrees of freedom, the more so up to half as much again (by simulation).

The means of a few folds can agree by chance, and their interval would then be shorter than what the seeds within the
folds show: where it is, it covers 82 % with two folds and 89 % with three, though folds don't differ at all. A fold's
mean varies at least as much as its seeds make it vary, so the same formula with the mean square between seeds, divided
by their number, in the place of MS_fold (F (S - 1) degrees of freedom) gives a second interval, and the longer one
counts. It covers 96 % there. Where folds matter as much as seeds or more, little changes; where they don't, all
intervals together cover 97 to 99 %, and are 3 to 7 % longer in the mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from mlcompare.comparison.mean_squares import Folds, MeanSquares, mean_squares

__all__ = ["Means", "Spread", "bounded_intervals", "means"]

SATTERTHWAITE = 1 / 3  # its weight in the critical value at 5 %, by simulation; 0 where there are two folds
STEEPER = 0.4  # by simulation: growth of the exponent of Cochran's mean while the level falls to a tenth


@dataclass(frozen=True)
class Spread:
    """The variances of ``P`` means, each of two random factors; NaN with nothing to estimate it from.

    Attributes:
        variance: ``(P,)``, of the mean.
        share: ``(P,)`` in [0, 1], of the variance that rests on the scarcer factor (as a rule the folds).
        scarce, other: ``(P,)``, degrees of freedom of the scarcer factor and of the other.
    """

    variance: np.ndarray
    share: np.ndarray
    scarce: np.ndarray
    other: np.ndarray

    def reach(self, level: float | np.ndarray) -> np.ndarray:
        """Return half the length ``(P,)`` of the interval that the two-sided test at ``level`` goes with."""
        return critical_value(self.share, self.scarce, self.other, level) * np.sqrt(self.variance)


@dataclass(frozen=True)
class Means:
    """``P`` means and their uncertainty; NaN without a score, or with nothing to estimate the uncertainty from.

    Attributes:
        mean: ``(P,)``.
        between_folds: their spread, by what folds differ.
        between_seeds: what it would be if the seeds within the folds were all that makes folds differ.
        parts: what the means were computed from.
        limit: what no mean can exceed, such as 1 for a difference of shares.
    """

    mean: np.ndarray
    between_folds: Spread
    between_seeds: Spread
    parts: tuple[MeanSquares, ...] = ()
    limit: float = math.inf

    def reach(self, level: float | np.ndarray) -> np.ndarray:
        """Return half the length ``(P,)`` of the interval that the two-sided test at ``level`` goes with."""
        return np.fmax(self.between_folds.reach(level), self.between_seeds.reach(level))

    def intervals(self, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Return low and high ``(P,)`` of the symmetric intervals, cut off at ± :attr:`limit`."""
        reach = self.reach(1.0 - confidence)
        return np.maximum(self.mean - reach, -self.limit), np.minimum(self.mean + reach, self.limit)

    def p_values(self) -> np.ndarray:
        """Return the two-sided p-values ``(P,)`` of "the mean is zero".

        The p-value is at most ``level`` exactly where the interval at ``1 - level`` excludes zero.
        """
        size = np.abs(self.mean)
        low, high = np.full(len(size), -36.0), np.zeros(len(size))  # log of the level
        for _ in range(60):
            middle = (low + high) / 2
            beyond = self.reach(np.exp(middle)) > size
            low, high = np.where(beyond, middle, low), np.where(beyond, high, middle)
        p_values = np.where(low == -36.0, 0.0, np.where(high == 0.0, 1.0, np.exp(high)))
        p_values = np.where(size == 0, 1.0, p_values)
        return np.where(np.isnan(size + self.between_folds.variance), np.nan, p_values)


def critical_value(share, scarce, other, level) -> np.ndarray:
    """Blend the t quantiles of two random factors, of which ``share`` rests on ``scarce`` degrees of freedom.

    >>> critical_value(1.0, 3.0, 19.0, 0.05).round(3), critical_value(0.0, 3.0, 19.0, 0.05).round(3)  # t of 3 and of 19
    (np.float64(3.182), np.float64(2.093))
    """
    share, level = np.asarray(share, dtype=float), np.asarray(level, dtype=float)
    quantiles = -stdtrit(scarce, level / 2), -stdtrit(other, level / 2)
    satterthwaite = -stdtrit(1.0 / (share**2 / scarce + (1.0 - share) ** 2 / other), level / 2)
    tenths = np.maximum(np.log10(0.05 / level), 0.0)  # 0 at 5 %, 1 at 0.5 %
    power = np.minimum(1.0 + STEEPER * tenths, 2.0)
    cochran = (share * quantiles[0] ** power + (1.0 - share) * quantiles[1] ** power) ** (1.0 / power)
    weight = np.where(np.asarray(scarce) < 2, 0.0, SATTERTHWAITE * np.maximum(1.0 - tenths, 0.0))
    return weight * satterthwaite + (1.0 - weight) * cochran


def means(matrices: Sequence[np.ndarray], folds: Folds, *, limit: float = math.inf) -> Means:
    """Return the means of score matrices ``(C, R)``, run r of fold ``folds[r]``, with their uncertainty.

    ``limit`` is what no mean can exceed on either side (:class:`Means`).

    >>> found = means([np.array([[0.1, 0.3], [0.2, 0.6]])], [0, 1])
    >>> found.mean.round(3).tolist(), found.between_folds.variance.round(4).tolist()  # (.09 + max(.04 - .01, 0)) / 4
    ([0.3], [0.03])
    """
    parts = tuple(mean_squares(matrix, folds) for matrix in matrices)
    of_folds, of_seeds = (
        Spread(*np.array([uncertainty(part) for part in parts]).reshape(-1, 4).T)
        for uncertainty in (_by_folds, _by_seeds)
    )
    return Means(np.array([part.mean for part in parts]), of_folds, of_seeds, parts, limit)


_Uncertainty = tuple[float, float, float, float]  # variance, share, scarce, other: see Spread
_UNKNOWN = (float("nan"), 1.0, 1.0, 1.0)


def _by_folds(part: MeanSquares) -> _Uncertainty:
    """Variance of the mean, the scarcer source's share of it, and both degrees of freedom."""
    sources = [(part.folds, part.by_fold), (part.classes, part.by_class)]
    sources = sorted((s for s in sources if s[0] > 1), key=lambda source: source[0])  # folds first where they are equal
    if not sources:
        return _UNKNOWN
    levels, square = sources[0]
    beyond = max(sources[1][1] - part.rest, 0.0) if len(sources) > 1 else 0.0
    total, scores = square + beyond, part.classes * part.folds / part.parts
    share = square / total if total > 0 else 1.0
    if part.by_part > total:  # the searches of the parts found settings of unlike quality
        share = min(2.0 * (part.by_part / total - 1.0), 1.0) if total > 0 else 1.0
        return part.by_part / scores, share, part.parts - 1.0, float(levels - part.parts)
    return total / scores, share, float(levels - part.parts), float(sources[-1][0] - part.parts)


def _by_seeds(part: MeanSquares) -> _Uncertainty:
    """The same as if folds differed by their seeds alone."""
    if math.isnan(part.by_seed):
        return _UNKNOWN
    beyond = max(part.by_class - part.rest, 0.0) if part.classes > 1 else 0.0
    total = part.by_seed + beyond
    freedom = float(part.classes - part.parts) if part.classes > 1 else float(part.seed_freedom)
    share = part.by_seed / total if total > 0 else 1.0
    return total / (part.classes * part.folds / part.parts), share, float(part.seed_freedom), freedom


def bounded_intervals(found: Means, confidence: float, limits: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return intervals ``(P,)`` of means that lie between ``limits``, such as shares between 0 and 1.

    Computed for ``log((x - low) / (high - x))`` and turned back, so they end inside and reach further away from the
    nearer limit; in simulation they cover better there than intervals cut off at the limit. A mean on a limit has an
    interval without width; one outside (percentages, say) the symmetric interval.

    >>> found = means([np.array([[0.9, 0.94], [0.98, 0.99]])], [0, 1])
    >>> [end.round(2).tolist() for end in bounded_intervals(found, 0.5, (0.0, 1.0))]
    [[0.9], [0.98]]
    """
    low, high = found.intervals(confidence)
    span = limits[1] - limits[0]
    share = (found.mean - limits[0]) / span
    inside = (share > 0.0) & (share < 1.0)
    safe = np.where(inside, share, 0.5)
    reach = (high - low) / 2 / span / (safe * (1.0 - safe))
    with np.errstate(over="ignore"):
        odds = safe / (1.0 - safe)
        ends = [limits[0] + span * (1.0 - 1.0 / (1.0 + odds * np.exp(side * reach))) for side in (-1.0, 1.0)]
    on_limit = (share == 0.0) | (share == 1.0)
    low, high = (np.where(on_limit, found.mean, plain) for plain in (low, high))
    return np.where(inside, ends[0], low), np.where(inside, ends[1], high)
