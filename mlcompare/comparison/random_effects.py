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
``tests/benchmarks/calibration.py`` measures what comes of it: with 3 folds or more 95 % intervals cover 93-97 %.

In a nested study each part of the classes is sealed once, and the folds of a part are tested on its classes alone:
classes × folds are crossed within B parts. The mean squares are pooled over the parts, with C - B and F - B degrees of
freedom (F counts the folds of all parts), and each score stands once:

    Var(mean) = max(MS_fold + max(MS_class - MS_rest, 0), MS_part) / (C F / B)

where MS_part is that of the parts' means: each part has a search of its own, so what one search found by luck is common
to its folds. Where it is larger it has B - 1 degrees of freedom, the more so up to half as much again (by simulation).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

__all__ = ["Folds", "MeanSquares", "Means", "bounded_intervals", "mean_squares", "means"]

Folds = Sequence[int] | np.ndarray  # the fold of each run

SATTERTHWAITE = 1 / 3  # its weight in the critical value at 5 %, by simulation; 0 where there are two folds
STEEPER = 0.4  # by simulation: growth of the exponent of Cochran's mean while the level falls to a tenth


@dataclass(frozen=True)
class MeanSquares:
    """The analysis of variance of one score matrix, seeds averaged.

    Attributes:
        mean: over folds of the mean over classes; NaN without a score.
        by_class, by_fold, rest: mean squares; NaN where there is only one class, or only one fold.
        classes, folds: the levels that count; ``classes`` is 1 where folds were tested on different classes.
        seeds: mean number of seeds in a fold.
        by_seeds: whether seeds stand in for folds, for there is only one fold.
        parts, by_part: of a nested study, how many parts of the classes there are, and the mean square of their means.
    """

    mean: float
    by_class: float
    by_fold: float
    rest: float
    classes: int
    folds: int
    seeds: float
    by_seeds: bool
    parts: int = 1
    by_part: float = 0.0


def mean_squares(scores: np.ndarray, folds: Folds) -> MeanSquares:
    """Analyse one matrix ``scores (C, R)``, NaN where missing, whose run r belongs to ``folds[r]``.

    Only classes with a score in every fold count; where no two classes have that, the study is nested if the folds fall
    into parts with test classes of their own, each of two folds and two classes or more; else the folds' means are all
    there is.

    >>> found = mean_squares(np.array([[1.0, 3.0], [2.0, 6.0]]), [0, 1])
    >>> found.mean, found.by_class, found.by_fold, found.rest
    (3.0, 4.0, 9.0, 1.0)
    """
    scores, of_run, by_seeds = _present(scores, folds)
    if not len(of_run):
        nan = float("nan")
        return MeanSquares(nan, nan, nan, nan, classes=0, folds=0, seeds=0.0, by_seeds=False)
    levels = list(dict.fromkeys(of_run.tolist()))
    cells = np.stack([_known_mean(scores[:, of_run == fold]) for fold in levels], axis=1)  # (C, F)
    complete = ~np.isnan(cells).any(axis=1)
    crossed = complete.sum() >= min(2, len(cells))
    parts = [] if crossed else _parts(cells)
    if parts:
        return _nested(parts, len(of_run) / len(levels))
    cells = cells[complete] if crossed else _known_mean(cells.T)[None]  # (1, F)
    classes, count = cells.shape
    seeds = len(of_run) / len(levels)
    return MeanSquares(*_two_way(cells), classes=classes, folds=count, seeds=seeds, by_seeds=by_seeds)


def _parts(cells: np.ndarray) -> list[np.ndarray]:
    """Return the blocks ``(C_b, F_b)`` that cells ``(C, F)`` fall into; none where they don't."""
    known = ~np.isnan(cells)
    blocks = []
    for pattern in np.unique(known, axis=0):
        rows, columns = (known == pattern).all(axis=1), pattern
        if known[~rows][:, columns].any() or rows.sum() < 2 or columns.sum() < 2:
            return []
        blocks.append(cells[rows][:, columns])
    return blocks if len(blocks) > 1 else []


def _nested(parts: Sequence[np.ndarray], seeds: float) -> MeanSquares:
    """Pool the analyses of the parts; the mean is over all classes."""
    classes, folds = np.array([part.shape for part in parts]).T
    means, by_class, by_fold, rest = np.array([_two_way(part) for part in parts]).T
    mean = float(classes @ means / classes.sum())

    def pooled(squares: np.ndarray, degrees: np.ndarray) -> float:
        return float(degrees @ squares / degrees.sum())

    by_part = float((classes * folds) @ (means - mean) ** 2 / (len(parts) - 1))
    return MeanSquares(
        mean, pooled(by_class, classes - 1), pooled(by_fold, folds - 1), pooled(rest, (classes - 1) * (folds - 1)),
        classes=int(classes.sum()), folds=int(folds.sum()), seeds=seeds, by_seeds=False,
        parts=len(parts), by_part=by_part,
    )  # fmt: skip


def _present(scores: np.ndarray, folds: Folds) -> tuple[np.ndarray, np.ndarray, bool]:
    """Classes and runs that have a score, the fold of each run, and whether seeds stand in for a lone fold's folds."""
    scores, of_run = np.asarray(scores, dtype=float), np.asarray(folds)
    missing = np.isnan(scores)
    if missing.any():
        scores, of_run = scores[~missing.all(axis=1)][:, ~missing.all(axis=0)], of_run[~missing.all(axis=0)]
    by_seeds = len(of_run) > 1 and bool((of_run == of_run[0]).all())
    return scores, (np.arange(len(of_run)) if by_seeds else of_run) if len(scores) else of_run[:0], by_seeds


def _known_mean(values: np.ndarray) -> np.ndarray:
    """Mean over axis 1 of what isn't NaN; NaN where nothing is."""
    known = ~np.isnan(values)
    if known.all():
        return values.mean(axis=1)
    counts = known.sum(axis=1)
    return np.where(counts > 0, np.where(known, values, 0.0).sum(axis=1) / np.maximum(counts, 1), np.nan)


def _two_way(cells: np.ndarray) -> tuple[float, float, float, float]:
    """Mean, and the mean squares of rows, columns and rest of ``cells (C, F)``."""
    c, f = cells.shape
    mean = cells.mean()
    rows, columns = cells.mean(axis=1) - mean, cells.mean(axis=0) - mean
    rest = cells - mean - rows[:, None] - columns
    of_rows, of_columns = _per_degree(f * (rows @ rows), c - 1), _per_degree(c * (columns @ columns), f - 1)
    return float(mean), of_rows, of_columns, _per_degree((rest**2).sum(), (c - 1) * (f - 1))


def _per_degree(squares: float, degrees: int) -> float:
    return float(squares / degrees) if degrees else float("nan")


@dataclass(frozen=True)
class Means:
    """``P`` means and their uncertainty; NaN without a score, or with nothing to estimate the uncertainty from.

    Attributes:
        mean: ``(P,)``.
        variance: ``(P,)``, of the mean.
        share: ``(P,)`` in [0, 1], of the variance that rests on the scarcer factor (as a rule the folds).
        scarce, other: ``(P,)``, degrees of freedom of the scarcer factor and of the other.
        parts: what the means were computed from.
        limit: what no mean can exceed, such as 1 for a difference of shares.
    """

    mean: np.ndarray
    variance: np.ndarray
    share: np.ndarray
    scarce: np.ndarray
    other: np.ndarray
    parts: tuple[MeanSquares, ...] = ()
    limit: float = math.inf

    def critical(self, level: float | np.ndarray) -> np.ndarray:
        """Return how many standard errors ``(P,)`` the two-sided test at ``level`` asks for."""
        return critical_value(self.share, self.scarce, self.other, level)

    def intervals(self, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Return low and high ``(P,)`` of the symmetric intervals, cut off at ± :attr:`limit`."""
        reach = self.critical(1.0 - confidence) * np.sqrt(self.variance)
        return np.maximum(self.mean - reach, -self.limit), np.minimum(self.mean + reach, self.limit)

    def p_values(self) -> np.ndarray:
        """Return the two-sided p-values ``(P,)`` of "the mean is zero".

        The p-value is at most ``level`` exactly where the interval at ``1 - level`` excludes zero.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            statistic = np.abs(self.mean) / np.sqrt(self.variance)
        statistic = np.where((self.mean == 0) & (self.variance == 0), 0.0, statistic)
        low, high = np.full(len(self.mean), -36.0), np.zeros(len(self.mean))  # log of the level
        for _ in range(60):
            middle = (low + high) / 2
            beyond = self.critical(np.exp(middle)) > statistic
            low, high = np.where(beyond, middle, low), np.where(beyond, high, middle)
        p_values = np.where(low == -36.0, 0.0, np.where(high == 0.0, 1.0, np.exp(high)))
        return np.where(np.isnan(statistic), np.nan, p_values)


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
    >>> found.mean.round(3).tolist(), found.variance.round(4).tolist()  # (.09 + max(.04 - .01, 0)) / 4
    ([0.3], [0.03])
    """
    parts = tuple(mean_squares(matrix, folds) for matrix in matrices)
    variance, share, scarce, other = np.array([_uncertainty(part) for part in parts]).reshape(-1, 4).T
    return Means(np.array([part.mean for part in parts]), variance, share, scarce, other, parts, limit)


def _uncertainty(part: MeanSquares) -> tuple[float, float, float, float]:
    """Variance of the mean, the scarcer source's share of it, and both degrees of freedom."""
    sources = [(part.folds, part.by_fold), (part.classes, part.by_class)]
    sources = sorted((s for s in sources if s[0] > 1), key=lambda source: source[0])  # folds first where they are equal
    if not sources:
        return float("nan"), 1.0, 1.0, 1.0
    levels, square = sources[0]
    beyond = max(sources[1][1] - part.rest, 0.0) if len(sources) > 1 else 0.0
    total, scores = square + beyond, part.classes * part.folds / part.parts
    share = square / total if total > 0 else 1.0
    if part.by_part > total:  # the searches of the parts found settings of unlike quality
        share = min(2.0 * (part.by_part / total - 1.0), 1.0) if total > 0 else 1.0
        return part.by_part / scores, share, part.parts - 1.0, float(levels - part.parts)
    return total / scores, share, float(levels - part.parts), float(sources[-1][0] - part.parts)


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
