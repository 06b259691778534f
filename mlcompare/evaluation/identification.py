"""Identification against an enrolled gallery: closed-set rank-k, and open-set detection and identification (DIR@FAR).

Identities are ranked, not samples: an identity's similarity is that of its best enrolled sample (Grother & Ngan, NIST
FRVT 1:N; Phillips et al. 2011). So ``rank_5`` is not ``recall_at_5``, though ``rank_1`` and ``recall_at_1`` agree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from mlcompare.errors import InvalidValueError
from mlcompare.evaluation.inputs import GRID, Samples, Values, cosines, select
from mlcompare.grouped import rows_by_class
from mlcompare.metrics import Metric

__all__ = ["dir_at_far", "enrolment", "identification_scores", "identity_ranks"]

CHUNK_ELEMENTS = 2**22


def identity_ranks(
    samples: Samples, query: np.ndarray, gallery: np.ndarray, *, chunk_size: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Rank each query's own identity among the enrolled ones, a sample never matching itself.

    Returns:
        ``rank (Q,)``, 1 for the best and ``inf`` where the identity isn't enrolled (ties go to the other identity), and
        ``best (Q,)``, the similarity of the best identity.
    """
    gallery = gallery[np.argsort(samples.codes.cpu().numpy()[gallery], kind="stable")]
    device = samples.vectors.device
    enrolled = samples.take(torch.as_tensor(gallery, device=device))
    identities, lengths = enrolled.codes.unique_consecutive(return_counts=True)  # (C,)
    column = torch.repeat_interleave(torch.arange(len(identities), device=device), lengths)  # (G,)
    step = chunk_size or max(1, CHUNK_ELEMENTS // len(gallery))
    ranks, bests = [], []
    for start in range(0, len(query), step):
        chosen = query[start : start + step]
        probes = samples.take(torch.as_tensor(chosen, device=device))
        similarity = cosines(probes.vectors, enrolled.vectors)  # (b, G)
        similarity[torch.as_tensor(chosen[:, None] == gallery, device=device)] = -torch.inf
        own = probes.codes[:, None] == identities  # (b, C)
        best = similarity.new_full(own.shape, -torch.inf)
        best.scatter_reduce_(1, column.expand(len(chosen), -1), similarity, "amax")  # (b, C)
        bests.append(best.amax(dim=1))
        best.add_(own, alpha=-GRID / 4)
        mine = best.masked_fill(~own, -torch.inf).amax(dim=1, keepdim=True)  # (b, 1)
        rank = 1.0 + (best > mine).sum(dim=1)
        ranks.append(torch.where(torch.isinf(mine[:, 0]), torch.inf, rank))
    return torch.cat(ranks).cpu().numpy(), torch.cat(bests).cpu().numpy()


def dir_at_far(rank: np.ndarray, best: np.ndarray, known: np.ndarray, far: float) -> float:
    """Detection and identification rate: share of known probes ranked first with a similarity above the threshold.

    The threshold is the loosest at which at most ``far`` of the unknown probes are accepted (exceed it). NaN when fewer
    than ``1 / far`` unknown probes exist, for then the rate can't be measured.

    Args:
        rank, best: ``(Q,)`` from :func:`identity_ranks`.
        known: ``(Q,)`` bool, whether the probe's identity is enrolled.

    >>> dir_at_far(np.array([1, 1, np.inf]), np.array([0.9, 0.4, 0.5]), np.array([True, True, False]), 1.0)
    1.0
    """
    alarms = np.sort(best[~known])[::-1]
    allowed = math.floor(far * len(alarms) * (1 + 1e-12))
    if allowed < 1:
        return math.nan
    threshold = alarms[allowed] if allowed < len(alarms) else -math.inf  # exceeded by at most `allowed` unknowns
    return float(((rank == 1) & (best > threshold))[known].mean())


def enrolment(codes: np.ndarray, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw an open-set protocol: half of the classes are unknown; half the samples of the others are enrolled.

    Returns:
        Probe and gallery indices. A class needs two samples to be enrolled; ``seed`` draws classes and samples.
    """
    generator = np.random.default_rng(seed)
    counts = np.bincount(codes)
    order = generator.permutation(np.flatnonzero(counts))
    order = order[np.argsort(counts[order] < 2, kind="stable")]  # those that can be enrolled come first
    known = order[: (len(order) + 1) // 2]
    known = known[counts[known] >= 2]
    rows = rows_by_class(codes)
    enrolled = [generator.permutation(rows[c])[: counts[c] // 2] for c in known]
    if not enrolled:
        raise InvalidValueError("an enrolled gallery needs a class with two samples", place="evaluate_embeddings")
    gallery = np.sort(np.concatenate(enrolled))
    return np.setdiff1d(np.arange(len(codes)), gallery), gallery


def identification_scores(
    samples: Samples,
    metrics: Sequence[Metric],
    *,
    query: Values | None = None,
    gallery: Values | None = None,
    seed: int = 0,
    chunk_size: int | None = None,
) -> dict[str, float]:
    """Score ``rank_k`` over the probes whose identity is enrolled, and ``dir_at_far_…`` over all probes.

    Without a gallery, ``rank_k`` is leave-one-out and ``dir_at_far_…`` draws its protocol by :func:`enrolment`.
    """
    codes = samples.codes.cpu().numpy()
    scores: dict[str, float] = {}
    for open_set in (False, True):
        chosen = [metric for metric in metrics if (metric.stem == "dir_at_far") == open_set]
        if not chosen:
            continue
        if open_set and gallery is None:
            probes, enrolled = enrolment(codes, seed=seed)
        else:
            probes = select(query, len(codes), place="query")
            enrolled = select(gallery, len(codes), place="gallery")
        rank, best = identity_ranks(samples, probes, enrolled, chunk_size=chunk_size)
        known = np.isfinite(rank)
        _check(chosen, known, len(np.unique(codes[enrolled])))
        for metric in chosen:
            if metric.far is not None:
                scores[metric.name] = dir_at_far(rank, best, known, metric.far)
            else:
                scores[metric.name] = float((rank[known] <= metric.k).mean())
    return scores


def _check(metrics: Sequence[Metric], known: np.ndarray, identities: int) -> None:
    if not known.any():
        raise InvalidValueError("at least one probe's identity must be enrolled", value="none", place="gallery")
    largest = max(metric.k or 1 for metric in metrics)
    if largest > identities:
        raise InvalidValueError(
            "k must not exceed the number of enrolled identities", value=f"k={largest} for {identities}",
            cure="ask for a smaller k", place="rank_k",
        )  # fmt: skip
    if metrics[0].stem == "dir_at_far" and known.all():
        raise InvalidValueError(
            "dir_at_far needs probes whose identity is not enrolled", value="none",
            cure="leave some classes out of the gallery", place="gallery",
        )  # fmt: skip
