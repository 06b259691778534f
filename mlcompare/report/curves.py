"""ROC and recall curves from the embeddings that final runs left behind. Cosine similarity throughout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlcompare.report.study import Embeddings

__all__ = ["Curves", "curves_of", "nearest", "normalized", "recall_at", "roc_points"]

MOST_QUERIES = 2_000  # beyond that, curves are drawn from evenly spaced queries against the whole gallery
CHUNK = 128
GRID = 2.0**-32  # cosines are multiples of this, as they are in the evaluation: equal vectors tie
FAR_GRID = np.concatenate([[0.0], np.logspace(-4, 0, 81)])


@dataclass(frozen=True)
class Curves:
    """Mean curves of one loss over its folds.

    Attributes:
        far, tar: the ROC curve at fixed false accept rates ``(F,)``; NaN below the finest rate the pairs resolve.
        ranks, recall: recall@k at ``ranks (K,)``.
        folds: how many runs were averaged.
        queries: queries of each run; fewer than samples where they were thinned out.
    """

    far: np.ndarray
    tar: np.ndarray
    ranks: np.ndarray
    recall: np.ndarray
    folds: int
    queries: int


def normalized(vectors: np.ndarray) -> np.ndarray:
    """Return rows of length one ``(N, D)``; a zero row stays zero."""
    vectors = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the cosines ``(b, n)`` of unit vectors ``(b, D)`` and ``(n, D)``, on a grid so that equal ones tie."""
    return np.round(left @ right.T / GRID) * GRID


def curves_of(runs: list[Embeddings]) -> Curves | None:
    """Average the curves of a loss's runs; None where no run has a pair of the same class and one of different ones."""
    tars, recalls, queries = [], [], 0
    for run in runs:
        scored = _similarities(run)
        if scored is None:
            continue
        same, different, first_hits = scored
        tars.append(roc_points(same, different, FAR_GRID))
        recalls.append(first_hits)
        queries = len(first_hits)
    if not tars:
        return None
    ranks = rank_grid(len(runs[0].labels) - 1)
    recall = np.mean([recall_at(first_hits, ranks) for first_hits in recalls], axis=0)
    return Curves(FAR_GRID, np.mean(tars, axis=0), ranks, recall, len(tars), queries)


def rank_grid(largest: int) -> np.ndarray:
    """Return the k of recall@k: 1 to 10, then fewer and fewer, up to 100."""
    grid = [*range(1, 11), 12, 15, 20, 25, 30, 40, 50, 70, 100]
    return np.array([k for k in grid if k <= max(largest, 1)])


def _similarities(run: Embeddings) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Similarities of same-class pairs, of different-class pairs, and the rank of each query's first hit.

    Pairs count once (i < j) when every sample is a query. A query alone in its class has no first hit and is left out.
    """
    if not np.isfinite(run.vectors).all():
        return None
    vectors, labels = normalized(run.vectors), run.labels
    n = len(labels)
    queries = np.arange(n) if n <= MOST_QUERIES else np.linspace(0, n - 1, MOST_QUERIES).astype(int)
    everyone = len(queries) == n
    sames: list[np.ndarray] = []
    differents: list[np.ndarray] = []
    ranks: list[np.ndarray] = []
    for start in range(0, len(queries), CHUNK):
        rows = queries[start : start + CHUNK]
        similarity = cosines(vectors[rows], vectors)  # (b, N)
        equal = labels[rows][:, None] == labels
        itself = rows[:, None] == np.arange(n)
        counted = rows[:, None] < np.arange(n) if everyone else ~itself
        sames.append(similarity[equal & counted])
        values = similarity[~equal & counted]
        differents.append(values if everyone else _thinned(values))
        best = np.where(equal & ~itself, similarity, -np.inf).max(axis=1)
        rank = 1 + (np.where(equal, -np.inf, similarity) >= best[:, None]).sum(axis=1)  # ties count against the query
        ranks.append(rank[np.isfinite(best)])
    same, different, first_hits = (np.concatenate(part) for part in (sames, differents, ranks))
    return (same, different, first_hits) if len(same) and len(different) else None


def _thinned(values: np.ndarray, most: int = 2**17) -> np.ndarray:
    """Keep memory in bounds: evenly spaced order statistics of very many values."""
    if len(values) <= most:
        return values
    return np.sort(values)[np.linspace(0, len(values) - 1, most).astype(int)]


def roc_points(same: np.ndarray, different: np.ndarray, far: np.ndarray) -> np.ndarray:
    """Return the true accept rate at each false accept rate ``far (F,)``, interpolated along the ROC curve.

    NaN below ``1 / len(different)``, which no threshold resolves.

    >>> roc_points(np.array([0.9, 0.4]), np.array([0.5, 0.1]), np.array([0.5, 1.0])).tolist()
    [1.0, 1.0]
    """
    same, different = np.sort(same), np.sort(different)
    n = len(different)

    def true_accepts(falsely: np.ndarray) -> np.ndarray:
        """TAR when as many pairs of different classes are accepted: that of the last threshold before the next one."""
        following = different[np.maximum(n - 1 - falsely, 0)]
        accepted = len(same) - np.searchsorted(same, following, side="right")
        return np.where(falsely < n, accepted / len(same), 1.0)

    at = far * n
    following = different[np.maximum(n - 1 - np.floor(at).astype(int), 0)]  # the first that is too many
    below = n - np.searchsorted(different, following, side="right")  # ties come in together: this many, or
    above = n - np.searchsorted(different, following, side="left")  # that many
    share = np.clip((at - below) / (above - below), 0.0, 1.0)
    points = (1 - share) * true_accepts(below) + share * true_accepts(above)
    return np.where((far > 0) & (far < 1 / n), np.nan, points)


def recall_at(first_hits: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Return recall@k for each of ``ranks (K,)``: the share of queries whose first hit has rank at most k."""
    return (first_hits[:, None] <= ranks).mean(axis=0) if len(first_hits) else np.full(len(ranks), np.nan)


def nearest(run: Embeddings, queries: np.ndarray, k: int) -> np.ndarray:
    """Return the ``k`` nearest other samples of each query, ``(Q, k)`` indices, nearest first."""
    vectors = normalized(run.vectors)
    similarity = cosines(vectors[queries], vectors)
    similarity[np.arange(len(queries)), queries] = -np.inf
    k = min(k, len(vectors) - 1)
    found = np.empty((len(queries), k), dtype=np.int64)
    for i, row in enumerate(similarity):
        candidates = np.flatnonzero(row >= np.partition(row, -k)[-k])  # ties at the end come by their index
        found[i] = candidates[np.argsort(-row[candidates], kind="stable")[:k]]
    return found
