"""Verification: are these two of one class? All pairs, streamed into counts, or a list of pairs.

Up to 2²¹ pairs are counted at their exact similarities. Beyond that, similarities are counted in 2¹⁹ bins of width
3.8e-6: memory no longer grows with the pairs, exact ties stay ties, and what falls into one bin counts as tied.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from mlcompare.errors import InvalidValueError
from mlcompare.evaluation.inputs import GRID, Samples, Values, select
from mlcompare.evaluation.roc import PairCounts, auc, best_threshold, count_pairs, eer, tar_at_far
from mlcompare.metrics import Metric

__all__ = ["all_pairs", "listed_pairs", "score_counts", "verification_accuracy", "verification_scores"]

EXACT_PAIRS = 2**21
BINS_PER_UNIT = 2**18  # its table of counts stays in the cache
CHUNK_ELEMENTS = 2**18  # similarities held at one time: they stay in the cache
Blocks = Iterator[tuple[torch.Tensor, torch.Tensor]]  # similarities of pairs, and whether they are of one class


def all_pairs(
    samples: Samples, query: Values | None = None, gallery: Values | None = None, *, chunk_size: int | None = None
) -> PairCounts:
    """Count every pair ``i < j``, or every query-gallery pair of two different samples.

    Raises:
        InvalidValueError: no two samples of one class, or no two of different classes.
    """
    pairs = len(samples) * (len(samples) - 1) // 2
    if query is None and gallery is None:
        blocks = _triangle(samples, chunk_size)
    else:
        rows = select(query, len(samples), place="query")
        columns = select(gallery, len(samples), place="gallery")
        pairs = len(rows) * len(columns)
        blocks = _rectangle(samples, rows, columns, chunk_size)
    return _collect(blocks) if pairs <= EXACT_PAIRS else _histogram(blocks, pairs, samples.vectors.device)


def _triangle(samples: Samples, chunk_size: int | None) -> Blocks:
    n, start = len(samples), 0
    while start < n - 1:
        step = chunk_size or max(1, CHUNK_ELEMENTS // (n - start))
        rows, columns = samples.take(slice(start, start + step)), samples.take(slice(start, n))
        similarity = rows.vectors @ columns.vectors.T  # (b, n - start)
        same = rows.codes[:, None] == columns.codes
        b = len(rows)
        upper = torch.triu(torch.ones(b, b, dtype=torch.bool, device=same.device), diagonal=1)
        yield similarity[:, :b][upper], same[:, :b][upper]
        yield similarity[:, b:], same[:, b:]
        start += b


def _rectangle(samples: Samples, rows: np.ndarray, columns: np.ndarray, chunk_size: int | None) -> Blocks:
    device = samples.vectors.device
    right = samples.take(torch.as_tensor(columns, device=device))
    step = chunk_size or max(1, CHUNK_ELEMENTS // len(columns))
    for start in range(0, len(rows), step):
        chosen = rows[start : start + step]
        left = samples.take(torch.as_tensor(chosen, device=device))
        other = torch.as_tensor(chosen[:, None] != columns, device=device)  # (b, G)
        similarity = left.vectors @ right.vectors.T
        yield similarity[other], (left.codes[:, None] == right.codes)[other]


def _collect(blocks: Blocks) -> PairCounts:
    parts = [(similarity.cpu().numpy().ravel(), same.cpu().numpy().ravel()) for similarity, same in blocks]
    similarity, same = (np.concatenate(part) for part in zip(*parts))
    keys = np.round(similarity / GRID).astype(np.int64) * 2 + same  # sorted several times as fast as their places are
    keys.sort()
    starts = np.concatenate([[0], 1 + np.flatnonzero(np.diff(keys >> 1))])
    alike, every = np.add.reduceat(keys & 1, starts), np.diff(np.append(starts, len(keys)))
    return PairCounts(((keys[starts] >> 1) * GRID)[::-1], alike[::-1], (every - alike)[::-1])


def _histogram(blocks: Blocks, pairs: int, device: torch.device) -> PairCounts:
    bins = 2 * BINS_PER_UNIT + 1  # cosines -1 … 1
    count = torch.int32 if pairs < 2**31 else torch.int64  # the smaller table is written to nearly twice as fast
    table = torch.zeros(2 * bins, dtype=count, device=device)  # bin 0 different, bin 0 same, bin 1 different, …
    for similarity, same in blocks:
        key = similarity.mul_(BINS_PER_UNIT).round_().add_(BINS_PER_UNIT).mul_(2).add_(same).reshape(-1)
        key = key.to(torch.int64)
        table.scatter_add_(0, key, torch.ones((), dtype=count, device=device).expand_as(key))
    counts = table.reshape(-1, 2)
    occupied = counts.any(dim=1).nonzero()[:, 0].flip(0)
    cosine = (occupied.double() / BINS_PER_UNIT - 1.0).cpu().numpy()
    different, alike = counts[occupied].long().cpu().numpy().T
    return PairCounts(cosine, alike, different)


def listed_pairs(vectors: torch.Tensor, pairs: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return similarities and truth, both ``(P,)``, of ``pairs = (index_a, index_b, same)`` over ``vectors (N, D)``.

    Raises:
        InvalidValueError: three arrays of one length are not given, or an index is out of range.
    """
    a, b, same = (np.asarray(part.cpu() if isinstance(part, torch.Tensor) else part) for part in pairs)
    if not (a.ndim == 1 and a.shape == b.shape == same.shape and len(a)):
        raise InvalidValueError(
            "pairs must be (index_a, index_b, same), three arrays of one length", place="pairs",
            value=f"shapes {a.shape}, {b.shape}, {same.shape}",
        )  # fmt: skip
    lowest, highest = min(a.min(), b.min()), max(a.max(), b.max())
    if a.dtype.kind not in "iu" or b.dtype.kind not in "iu" or lowest < 0 or highest >= len(vectors):
        raise InvalidValueError(
            f"pair indices must be integers in [0, {len(vectors)})", value=f"{lowest} to {highest}", place="pairs"
        )
    similarity = np.empty(len(a))
    for start in range(0, len(a), 16384):
        rows = [torch.as_tensor(x[start : start + 16384].astype(np.int64), device=vectors.device) for x in (a, b)]
        cosine = (vectors[rows[0]] * vectors[rows[1]]).sum(dim=1)  # (b,)
        similarity[start : start + 16384] = (torch.round(cosine / GRID) * GRID).cpu().numpy()
    return similarity, same.astype(bool)


def verification_accuracy(folds: Sequence[PairCounts]) -> float:
    """Mean over folds of the balanced accuracy at the threshold that is best on the *other* folds.

    The protocol of LFW (Huang et al. 2007: ten folds, equally many same and different pairs); balanced accuracy stands
    in for its equal numbers. In [0, 1].
    """
    scores = []
    for held_out in range(len(folds)):
        threshold = best_threshold(_merge([fold for i, fold in enumerate(folds) if i != held_out]))
        test, accepted = folds[held_out], folds[held_out].similarity >= threshold
        tar = test.same[accepted].sum() / test.same.sum()
        far = test.different[accepted].sum() / test.different.sum()
        scores.append((tar + 1.0 - far) / 2)
    return float(np.mean(scores))


def _merge(parts: list[PairCounts]) -> PairCounts:
    values, index = np.unique(np.concatenate([part.similarity for part in parts]), return_inverse=True)
    same, different = np.zeros(len(values), dtype=np.int64), np.zeros(len(values), dtype=np.int64)
    np.add.at(same, index, np.concatenate([part.same for part in parts]))
    np.add.at(different, index, np.concatenate([part.different for part in parts]))
    return PairCounts(values[::-1], same[::-1], different[::-1])


def class_folds(samples: Samples, *, folds: int = 10, seed: int = 0, chunk_size: int | None = None) -> list[PairCounts]:
    """Count pairs inside each of ``folds`` class-disjoint folds (fewer when there aren't two classes for each).

    Classes are dealt out at random, those with two samples or more first, so that every fold has both kinds of pair.
    """
    counts = np.bincount(samples.codes.cpu().numpy(), minlength=len(samples.classes))
    order = np.random.default_rng(seed).permutation(len(counts))
    order = order[np.argsort(counts[order] < 2, kind="stable")]
    folds = min(folds, len(counts) // 2, int((counts >= 2).sum()))
    if folds < 2:
        raise InvalidValueError(
            "verification_accuracy needs four classes, two of them with two samples", value=f"{len(counts)} classes",
            place="evaluate_embeddings",
        )  # fmt: skip
    fold_of = np.empty(len(counts), dtype=np.int64)
    fold_of[order] = np.arange(len(order)) % folds
    fold = torch.as_tensor(fold_of, device=samples.codes.device)[samples.codes]
    return [all_pairs(samples.take((fold == i).nonzero()[:, 0]), chunk_size=chunk_size) for i in range(folds)]


def pair_folds(
    similarity: np.ndarray, same: np.ndarray, *, folds: int = 10, seed: int = 0, given: np.ndarray | None = None
) -> list[PairCounts]:
    """Split listed pairs into the ``given`` folds ``(P,)``, else into ``folds`` random ones with equal shares of same
    and different pairs. Given folds that lack one kind of pair, or a single one, are not used.
    """
    if given is not None:
        parts = [given == fold for fold in np.unique(given)]
        if len(parts) > 1 and all(0 < same[part].sum() < part.sum() for part in parts):
            return [count_pairs(similarity[part], same[part]) for part in parts]
    folds = min(folds, int(same.sum()), int((~same).sum()))
    if folds < 2:
        raise InvalidValueError("verification_accuracy needs two same and two different pairs", place="pairs")
    order = np.random.default_rng(seed).permutation(len(same))
    order = order[np.argsort(same[order], kind="stable")]
    fold_of = np.empty(len(same), dtype=np.int64)
    fold_of[order[: int((~same).sum())]] = np.arange(int((~same).sum())) % folds
    fold_of[order[int((~same).sum()) :]] = np.arange(int(same.sum())) % folds
    return [count_pairs(similarity[fold_of == i], same[fold_of == i]) for i in range(folds)]


def score_counts(counts: PairCounts, metric: Metric) -> float:
    """Read one of ``auc``, ``eer`` and ``tar_at_far_…`` off the counts."""
    match metric.stem:
        case "auc":
            return auc(counts)
        case "eer":
            return eer(counts)
        case "tar_at_far" if metric.far is not None:
            return tar_at_far(counts, metric.far)
    return math.nan


def verification_scores(
    samples: Samples,
    metrics: Sequence[Metric],
    *,
    query: Values | None = None,
    gallery: Values | None = None,
    pairs: Sequence[Any] | None = None,
    seed: int = 0,
    chunk_size: int | None = None,
) -> dict[str, float]:
    """Score verification metrics over all pairs, or over ``pairs = (index_a, index_b, same)``.

    A fourth array of ``pairs`` gives each pair's fold of ``verification_accuracy``; without it folds are drawn.
    """
    listed = listed_pairs(samples.vectors, pairs[:3]) if pairs is not None else None
    given = pairs[3] if pairs is not None and len(pairs) > 3 else None
    scores, counts = {}, None
    for metric in metrics:
        if metric.stem == "verification_accuracy":
            if listed:
                folds = pair_folds(*listed, seed=seed, given=given)
            else:
                folds = class_folds(samples, seed=seed, chunk_size=chunk_size)
            scores[metric.name] = verification_accuracy(folds)
            continue
        if counts is None:
            counts = count_pairs(*listed) if listed else all_pairs(samples, query, gallery, chunk_size=chunk_size)
        scores[metric.name] = score_counts(counts, metric)
    return scores
