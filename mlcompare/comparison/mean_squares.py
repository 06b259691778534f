"""The analysis of variance of one score matrix: classes × folds, seeds averaged (:mod:`.random_effects` says why)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlcompare.comparison.between_seeds import between_seeds

__all__ = ["Folds", "MeanSquares", "mean_squares"]

Folds = Sequence[int] | np.ndarray  # the fold of each run


@dataclass(frozen=True)
class MeanSquares:
    """The analysis of variance of one score matrix, seeds averaged.

    Attributes:
        mean: over folds of the mean over classes; NaN without a score.
        by_class, by_fold, rest: mean squares; NaN where there is only one class, or only one fold.
        classes, folds: the levels that count; ``classes`` is 1 where folds were tested on different classes.
        seeds: mean number of seeds in a fold.
        by_seed, seed_freedom: what ``by_fold`` would be if folds didn't differ but for their seeds, and its degrees of
            freedom; NaN and 0 where no fold has two seeds, or where seeds stand in for folds.
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
    by_seed: float = float("nan")
    seed_freedom: int = 0


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
    seeds = len(of_run) / len(levels)
    seen = complete if crossed else np.ones(len(cells), dtype=bool)
    of_seed, _, freedom = between_seeds(scores[seen], of_run)
    if parts:
        found = _nested(parts, seeds)
    else:
        cells = cells[complete] if crossed else _known_mean(cells.T)[None]  # (1, F)
        classes, count = cells.shape
        found = MeanSquares(*_two_way(cells), classes=classes, folds=count, seeds=seeds, by_seeds=by_seeds)
    return replace(found, by_seed=found.classes / found.parts * of_seed / seeds, seed_freedom=freedom)


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
