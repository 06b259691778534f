"""How much the seeds of one fold differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["between_seeds"]


def between_seeds(scores: np.ndarray, folds: Sequence[int] | np.ndarray) -> tuple[float, float, int]:
    """Variances between the seeds of a fold, pooled over folds, and their degrees of freedom.

    Of scores ``(C, R)``, run r of fold ``folds[r]``, NaN where missing: the variance of a run's mean over classes, and
    that of the single scores around it. NaN and 0 where no fold has two seeds.

    >>> between_seeds([[1.0, 3.0, 5.0]], [0, 0, 1])
    (2.0, 0.0, 1)
    """
    scores, of_run = np.asarray(scores, dtype=float), np.asarray(folds)
    of_means = of_cells = 0.0
    degrees = 0
    for fold in dict.fromkeys(of_run.tolist()):
        mine = scores[:, (of_run == fold) & ~np.isnan(scores).all(axis=0)]  # (C, S)
        mine = mine[~np.isnan(mine).any(axis=1)]
        if mine.shape[1] > 1 and len(mine):
            deviations = mine - mine.mean(axis=1, keepdims=True)
            shifts = deviations.mean(axis=0)  # (S,), what moves all classes at once
            of_means += shifts @ shifts
            of_cells += ((deviations - shifts) ** 2).sum() / max(len(mine) - 1, 1)
            degrees += mine.shape[1] - 1
    if not degrees:
        return float("nan"), float("nan"), 0
    return float(of_means / degrees), float(of_cells / degrees), degrees
