"""Where a mean's uncertainty comes from: which test classes were drawn, and how each training run happened to go.

Scores ``x[c, r]`` of class c in run r are split as ``mean + class effect + run effect + rest`` (a crossed layout).
The runs of a study share their test classes, so runs alone would be overconfident about new classes; and a run is
better or worse on all classes at once, so classes alone would be overconfident about new runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Effects", "effects"]


@dataclass(frozen=True)
class Effects:
    """Mean and deviations of ``P`` score matrices ``(C, R)``; zero where a class or run is missing.

    Attributes:
        mean: ``(P,)``, the mean over the classes of their mean over runs; NaN without a score.
        by_class: ``(C, P)`` deviations of the class means.
        by_run: ``(R, P)`` deviations of the run means.
        present: ``(C, P)`` bool, classes with a score.
        run_counts: ``(P,)``, runs with a score.
        run_share: ``(P,)`` in [0, 1]: how much of the variance of the run means is the runs' own, not the rest's.
    """

    mean: np.ndarray
    by_class: np.ndarray
    by_run: np.ndarray
    present: np.ndarray
    run_counts: np.ndarray
    run_share: np.ndarray

    @property
    def class_counts(self) -> np.ndarray:
        return self.present.sum(axis=0)


def effects(matrices: Sequence[np.ndarray]) -> Effects:
    """Split each of the score matrices ``(C, R)`` (NaN where missing) into mean, class and run effects.

    >>> effects([np.array([[1.0, 3.0], [2.0, 4.0]])]).by_run.ravel().tolist()
    [-1.0, 1.0]
    """
    parts = [_split(matrix) for matrix in matrices]
    mean, by_class, by_run, present, run_counts, run_share = zip(*parts)
    columns = [np.stack(part, axis=1) for part in (by_class, by_run, present)]
    return Effects(np.array(mean), columns[0], columns[1], columns[2], np.array(run_counts), np.array(run_share))


def _split(scores: np.ndarray) -> tuple:
    known = ~np.isnan(scores)
    filled = np.where(known, scores, 0.0)
    per_class, per_run = known.sum(axis=1), known.sum(axis=0)
    classes, runs = per_class > 0, per_run > 0
    c, r = int(classes.sum()), int(runs.sum())
    if c == 0:
        return np.nan, np.zeros(len(classes)), np.zeros(len(runs)), classes, 0, 0.0
    class_mean = filled.sum(axis=1) / np.maximum(per_class, 1)
    mean = class_mean[classes].mean()
    by_class = np.where(classes, class_mean - mean, 0.0)
    # a run's deviation from what its classes score on average: a missing class doesn't make a run look better
    by_run = np.where(known, scores - class_mean[:, None], 0.0).sum(axis=0) / np.maximum(per_run, 1)
    by_run = np.where(runs, by_run - (by_run[runs].mean() if r else 0.0), 0.0)
    return mean, by_class, by_run, classes, r, _run_share(scores, known, class_mean, by_run, c, r)


def _run_share(scores, known, class_mean, by_run, c: int, r: int) -> float:
    """``1 - (σ²_rest / C) / Var(run means)``, the analysis of variance's estimate, at least 0."""
    variance = (by_run**2).sum() / max(r - 1, 1)
    if r < 2 or variance <= 1e-30:
        return 0.0
    if c < 2:
        return 1.0
    rest = np.where(known, scores - class_mean[:, None] - by_run[None, :], 0.0)
    rest_variance = (rest**2).sum() / max(known.sum() - c - r + 1, 1)
    return float(np.clip(1.0 - rest_variance / c / variance, 0.0, 1.0))
