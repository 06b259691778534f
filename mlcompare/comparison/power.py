"""How much more would settle it: the folds, the seeds or the test classes that would tell two losses apart."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from mlcompare.comparison.between_seeds import between_seeds
from mlcompare.comparison.mean_squares import Folds, MeanSquares, mean_squares
from mlcompare.comparison.random_effects import critical_value

__all__ = ["Separation", "runs_to_separate", "smallest_difference", "variances_of"]

MOST_FOLDS, MOST_SEEDS, MOST_CLASSES = 1_000, 1_000, 1_000_000


@dataclass(frozen=True)
class Separation:
    """What it would take to tell two losses apart, if their true difference is the one observed.

    Attributes:
        folds: folds needed with the same seeds and test classes; None when no number suffices, or none can be given.
        seeds: seeds needed in each of the same folds; None likewise.
        classes: test classes needed with the same runs; None likewise.
        together: folds and test classes, both grown alike, where neither alone suffices; None otherwise.
        sentence: the same in words.
    """

    folds: int | None
    seeds: int | None
    classes: int | None
    together: tuple[int, int] | None
    sentence: str


@dataclass(frozen=True)
class _Variances:
    """``Var(mean) = of_class / C + of_fold / F + of_seed / (F S) + (of_cell + rest / S) / (C F)``."""

    of_class: float
    of_fold: float
    of_seed: float
    of_cell: float
    rest: float

    def smallest_told(self, classes: float, folds: float, seeds: float, level: float, power: float) -> float:
        """The smallest true difference that the test at ``level`` tells with this ``power``."""
        of_cells = (self.of_cell + self.rest / seeds) / (classes * folds)
        of_folds = self.of_fold / folds + self.of_seed / (folds * seeds) + of_cells
        of_classes = self.of_class / classes
        if folds > classes > 1:  # the scarcer factor bears what both share
            of_folds, of_classes = of_folds - of_cells, of_classes + of_cells
        total = of_folds + of_classes
        scarce, other = (of_folds, folds - 1), (of_classes, classes - 1)
        if classes == 1:
            other = scarce
        elif folds > classes:
            scarce, other = other, scarce
        asked = critical_value(scarce[0] / total if total > 0 else 1.0, scarce[1], other[1], level)
        return float(asked + NormalDist().inv_cdf(power)) * math.sqrt(total)


# Medians over stored studies with sealed classes, of the medians over pairs of losses, MAP@R;
# `python tests/benchmarks/power.py` prints them.
TYPICAL = _Variances(of_class=0.060**2, of_fold=0.002**2, of_seed=0.000**2, of_cell=0.037**2, rest=0.079**2)


def smallest_difference(classes: int, folds: int, seeds: int, *, power: float = 0.8, level: float = 0.05) -> float:
    """Return the smallest true difference of MAP@R between two losses that a study of new classes is likely to tell.

    What classes, folds and seeds are worth is taken from stored studies of faces and characters; other data may vary
    more or less. NaN for fewer than two folds.

    >>> round(smallest_difference(20, 4, 2), 2) > round(smallest_difference(200, 4, 2), 2)
    True
    """
    return TYPICAL.smallest_told(classes, folds, seeds, level, power) if folds > 1 else math.nan


def variances_of(differences: np.ndarray, folds: Folds) -> tuple[float, float, float, float, float]:
    """Return the parts of variance of a difference ``(C, runs)``: of class, fold, seed, cell (class × fold), and rest.

    Those of the model above :func:`smallest_difference`; NaN where there are fewer than two folds.
    """
    found = mean_squares(differences, folds)
    if found.by_seeds or found.folds < 2:
        return (math.nan,) * 5
    parts = _variances(found, *between_seeds(differences, folds)[:2])
    return parts.of_class, parts.of_fold, parts.of_seed, parts.of_cell, parts.rest


def runs_to_separate(differences: np.ndarray, folds: Folds, *, power: float = 0.8, level: float = 0.05) -> Separation:
    """Estimate how many folds, seeds or test classes would tell two losses apart.

    The same model as that of intervals and p-values, its parts of variance estimated by analysis of variance. The
    difference is taken at face value, so a small observed one makes the answer large and uncertain.

    Args:
        differences: ``(C, R)`` scores of one loss minus the other, NaN where missing.
        folds: ``(R,)``, the fold of each run.
        power: the share of such studies that would tell the losses apart.
        level: of the two-sided test.
    """
    found = mean_squares(differences, folds)
    if found.by_seeds or found.folds < 2 or not abs(found.mean) > 0:
        return Separation(None, None, None, None, "Two folds and a difference are needed to estimate this.")
    variances, size = _variances(found, *between_seeds(differences, folds)[:2]), abs(found.mean)
    c, f, s = found.classes, found.folds, found.seeds

    def told(classes: float, folds: float, seeds: float) -> bool:
        return variances.smallest_told(classes, folds, seeds, level, power) <= size

    more_folds = _fewest(lambda n: told(c, n, s), f, MOST_FOLDS)
    more_seeds = _fewest(lambda n: told(c, f, n), math.ceil(s), MOST_SEEDS) if s > 1 else None
    more_classes = _fewest(lambda n: told(n, f, s), c, MOST_CLASSES) if c > 1 else None
    together = None
    if c > 1 and not (more_folds or more_classes):
        growth = _fewest(lambda n: told(c * n / f, n, s), f, MOST_FOLDS)
        together = (growth, math.ceil(c * growth / f)) if growth else None
    sentence = _sentence(found, variances, more_folds, more_seeds, more_classes, together, power)
    return Separation(more_folds, more_seeds, more_classes, together, sentence)


def _variances(found: MeanSquares, of_runs: float, of_scores: float) -> _Variances:
    """Estimate the parts, none below 0; with one seed a fold, seed and fold count as one."""
    c, f, s = found.classes, found.folds, found.seeds
    crossed = c > 1
    rest = found.rest if crossed else 0.0
    of_class = max(found.by_class - rest, 0.0) / f if crossed else 0.0
    of_run = max(found.by_fold - rest, 0.0) / c
    if math.isnan(of_runs):
        return _Variances(of_class, of_run, 0.0, rest, 0.0)
    of_single = of_scores if crossed else 0.0
    of_seed = min(max(of_runs - of_single / c, 0.0), s * of_run)
    return _Variances(of_class, of_run - of_seed / s, of_seed, max(rest - of_single / s, 0.0), min(of_single, s * rest))


def _fewest(enough: Callable[[int], bool], start: int, most: int) -> int | None:
    """Return the smallest number from ``start`` on that is enough; None where even ``most`` isn't."""
    if enough(start):
        return start
    if not enough(most):
        return None
    low, high = start, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _sentence(found: MeanSquares, v: _Variances, folds, seeds, classes, together, power: float) -> str:
    c, f, s = found.classes, found.folds, found.seeds
    on = f" on {c} test classes" if c > 1 else ""
    if folds == f:
        return f"{power:.0%} of studies with {f} folds × {s:g} seeds{on} would tell such a difference; not this one."
    ways = [f"{folds} folds instead of {f}"] if folds else []
    ways += [f"{classes} test classes instead of {c}"] if classes else []
    ways += [f"{seeds} seeds in each fold instead of {s:g}"] if seeds else []
    if together:
        ways = [f"{together[0]} folds instead of {f} together with {together[1]} test classes instead of {c}"]
    never = [] if folds else ["more folds"]
    never += [] if classes or c == 1 else ["more test classes"]
    never += [] if seeds or s == 1 else ["more seeds"]
    parts = [f"With {power:.0%} power it would take about {' or '.join(ways)}."] if ways else []
    if never:
        limit = "test classes" if v.of_class / c > v.of_fold / f and c > 1 else "folds"
        why = f": the few {limit} limit what can be told" if bool(folds) != bool(classes) and c > 1 else ""
        alone = f"{' or '.join(never)} alone never would{why}."
        parts.append(alone[0].upper() + alone[1:])
    if s == 1:
        parts.append("What more seeds would bring can't be said from one seed in each fold.")
    return " ".join(parts)
