"""The ROC curve and what is read off it, from counts of same-class and different-class pairs at each similarity."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mlcompare.errors import InvalidValueError

__all__ = ["PairCounts", "auc", "best_threshold", "count_pairs", "eer", "roc_curve", "tar_at_far", "threshold_at_far"]


@dataclass(frozen=True)
class PairCounts:
    """How many pairs have each similarity.

    Attributes:
        similarity: ``(T,)`` distinct cosines, descending.
        same: ``(T,)`` int64, pairs of one class with that similarity.
        different: ``(T,)`` int64, pairs of two classes with that similarity.
    """

    similarity: np.ndarray
    same: np.ndarray
    different: np.ndarray

    def __post_init__(self) -> None:
        if self.same.sum() == 0 or self.different.sum() == 0:
            raise InvalidValueError(
                "verification needs pairs of the same class and pairs of different classes",
                value=f"{self.same.sum()} same and {self.different.sum()} different",
                cure="give two classes, one of them with two samples",
            )


def count_pairs(similarity: np.ndarray, same: np.ndarray) -> PairCounts:
    """Count a list of pairs: ``similarity (P,)`` and ``same (P,)`` bool. Equal similarities share a threshold.

    >>> count_pairs(np.array([0.5, 0.9, 0.5]), np.array([True, True, False])).same.tolist()
    [1, 1]
    """
    values, index = np.unique(similarity, return_inverse=True)
    counts = np.bincount(index.reshape(-1) * 2 + same, minlength=2 * len(values)).reshape(-1, 2)[::-1]  # (T, 2)
    return PairCounts(values[::-1], counts[:, 1], counts[:, 0])


def roc_curve(counts: PairCounts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return false accept rates, true accept rates and thresholds, each ``(T + 1,)``.

    A pair is accepted when ``similarity >= threshold``; the first point accepts nothing (threshold +inf).
    """
    far = np.concatenate([[0.0], np.cumsum(counts.different) / counts.different.sum()])
    tar = np.concatenate([[0.0], np.cumsum(counts.same) / counts.same.sum()])
    return far, tar, np.concatenate([[np.inf], counts.similarity])


def auc(counts: PairCounts) -> float:
    """Area under the ROC curve: ``P(s₊ > s₋) + ½ P(s₊ = s₋)`` over all same/different pairs of pairs, in [0, 1].

    >>> auc(count_pairs(np.array([0.9, 0.5, 0.5]), np.array([True, True, False])))
    0.75
    """
    different = counts.different.astype(np.float64)
    below = different.sum() - np.cumsum(different) + different / 2  # (T,) beaten, ties by half
    return float((counts.same * below).sum() / (float(counts.same.sum()) * different.sum()))


def eer(counts: PairCounts) -> float:
    """Equal error rate: where ``FAR = 1 - TAR`` on the ROC curve, its points joined by straight lines; less is better.

    >>> eer(count_pairs(np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, True, False, False])))
    0.25
    """
    far, tar, _ = roc_curve(counts)
    gap = far + tar - 1.0  # rises from -1 to 1
    after = int(np.argmax(gap >= 0))
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    return float(far[after - 1] + share * (far[after] - far[after - 1]))


def tar_at_far(counts: PairCounts, far: float) -> float:
    """True accept rate at the loosest threshold whose false accept rate is at most ``far``; no interpolation.

    NaN when fewer than ``1 / far`` different-class pairs exist: one false accept would already exceed the rate, so the
    number could only tell where the single hardest pair lies.

    >>> tar_at_far(count_pairs(np.array([0.9, 0.4, 0.5, 0.1]), np.array([True, True, False, False])), 0.5)
    1.0
    """
    threshold = threshold_at_far(counts, far)
    if math.isnan(threshold):
        return math.nan
    return float(counts.same[counts.similarity >= threshold].sum() / counts.same.sum())


def threshold_at_far(counts: PairCounts, far: float) -> float:
    """The lowest observed similarity that keeps the false accept rate; +inf if none does, NaN if too few pairs."""
    total = int(counts.different.sum())
    allowed = math.floor(far * total * (1 + 1e-12))  # 1e-3 × 1000 is one pair
    if allowed < 1:
        return math.nan
    passing = np.flatnonzero(np.cumsum(counts.different) <= allowed)
    return float(counts.similarity[passing[-1]]) if len(passing) else math.inf


def best_threshold(counts: PairCounts) -> float:
    """The threshold of the best balanced accuracy ``½ (TAR + 1 - FAR)``, halfway to the next similarity below it.

    Among equals the highest one. The balance makes the choice independent of how many different-class pairs there are.
    """
    far, tar, thresholds = roc_curve(counts)
    best = int(np.argmax(tar - far))
    if best == 0:
        return math.inf
    below = thresholds[min(best + 1, len(thresholds) - 1)]
    return float((thresholds[best] + below) / 2)
