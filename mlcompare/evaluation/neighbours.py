"""Exact ranked lists: for each query, which of its K most similar gallery samples share its class.

Ties are broken against the embedding: **a negative as similar as a positive is ranked before it.** A collapsed
embedding, where everything ties, therefore scores 0, and the order of the samples never matters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from mlcompare.errors import InvalidValueError
from mlcompare.evaluation.inputs import GRID, Samples, Values, cosines, select
from mlcompare.evaluation.symmetric import pays, symmetric_lists

__all__ = ["Ranked", "Task", "ranked_lists", "retrieval_task"]

CHUNK_ELEMENTS = 2**22  # similarities held at one time when no chunk size is given (32 MB in float64)
NUDGE = GRID / 4  # a quarter of the least difference between two similarities


@dataclass(frozen=True)
class Task:
    """Who is searched for among whom: index arrays into the samples, and R for each query.

    ``positives (Q,)`` counts the gallery samples of the query's class, without the query itself. Queries that have none
    (a class with one sample, in leave-one-out) are left out of ``query``: nothing can answer them.
    """

    query: np.ndarray
    gallery: np.ndarray
    positives: np.ndarray
    candidates: int  # gallery size, less the query itself where queries stand in the gallery


@dataclass(frozen=True)
class Ranked:
    """Ranked lists of ``b`` queries: ``rows (b,)`` into the task, ``hits (b, K)`` bool, ``first (b,)`` or None.

    ``hits[:, i]`` says whether the neighbour of rank ``i + 1`` has the query's class; ``first`` is the exact rank of
    the first hit, beyond K too.
    """

    rows: torch.Tensor
    hits: torch.Tensor
    first: torch.Tensor | None


def retrieval_task(
    samples: Samples, query: Values | None = None, gallery: Values | None = None, *, place: str = "evaluate_embeddings"
) -> Task:
    """Decide queries and gallery: leave-one-out over all samples, or the given indices or masks.

    A sample that stands in both is never its own neighbour.

    Raises:
        InvalidValueError: no query has a sample of its class in the gallery.
    """
    codes = samples.codes.cpu().numpy()
    queries = select(query, len(codes), place=f"{place}: query")
    gallery = select(gallery, len(codes), place=f"{place}: gallery")
    inside = np.zeros(len(codes), dtype=bool)
    inside[gallery] = True
    counts = np.bincount(codes[gallery], minlength=len(samples.classes))
    positives = counts[codes[queries]] - inside[queries]  # (Q,)
    answerable = positives > 0
    if not answerable.any():
        raise InvalidValueError(
            "at least one query needs another sample of its class in the gallery", value="none", place=place,
            cure="give two samples for some class, or check the labels",
        )  # fmt: skip
    overlap = bool(inside[queries[answerable]].any())
    return Task(queries[answerable], gallery, positives[answerable], len(gallery) - overlap)


def ranked_lists(
    samples: Samples, task: Task, depth: np.ndarray, *, first: bool = False, chunk_size: int | None = None
) -> Iterator[Ranked]:
    """Yield the ranked lists of all queries, at least ``depth (Q,)`` long, some queries at a time.

    Large leave-one-out tasks go the symmetric way (:mod:`mlcompare.evaluation.symmetric`), with the same result.

    Args:
        first: find the rank of the first hit too, however deep it lies.
        chunk_size: queries at a time, the plain way; memory is ``chunk_size × gallery``.
    """
    everyone = task.candidates == len(samples) - 1 and len(task.gallery) == len(samples)
    if first or chunk_size or not everyone or not pays(samples, int(depth.max())):
        yield from _plain(samples, task, np.arange(len(task.query)), depth, first, chunk_size)
        return
    row_of = np.full(len(samples), -1)
    row_of[task.query] = np.arange(len(task.query))
    needed = np.ones(len(samples), dtype=np.int64)
    needed[task.query] = depth
    unfinished = []
    for block in symmetric_lists(samples, needed):
        rows = row_of[block.rows]
        usable = block.complete & (rows >= 0)
        unfinished.append(rows[~block.complete & (rows >= 0)])
        yield Ranked(torch.as_tensor(rows[usable]), torch.as_tensor(block.hits[usable]), None)
    yield from _plain(samples, task, np.concatenate(unfinished), depth, first, chunk_size)


def _plain(
    samples: Samples, task: Task, rows: np.ndarray, depth: np.ndarray, first: bool, chunk_size: int | None
) -> Iterator[Ranked]:
    """Rank the whole gallery for the queries ``rows`` of the task, in float64."""
    k = min(int(depth.max()), task.candidates)
    device = samples.vectors.device
    query, gallery = torch.as_tensor(task.query[rows], device=device), torch.as_tensor(task.gallery, device=device)
    place = torch.full((len(samples),), -1, dtype=torch.int64, device=device)
    place[gallery] = torch.arange(len(gallery), device=device)
    targets = samples.vectors[gallery]  # (G, D)
    step = chunk_size or max(1, CHUNK_ELEMENTS // len(gallery))
    for start in range(0, len(query), step):
        chosen = query[start : start + step]
        similarity = cosines(samples.vectors[chosen], targets)  # (b, G)
        positive = samples.codes[chosen, None] == samples.codes[gallery]  # (b, G)
        similarity.add_(positive, alpha=-NUDGE)  # ties: the negative goes first
        own = place[chosen]
        inside = own >= 0
        similarity[inside.nonzero()[:, 0], own[inside]] = -torch.inf
        rank = _first_hit(similarity, positive) if first else None
        hits = _hits(similarity, positive, k)
        yield Ranked(torch.as_tensor(rows[start : start + step], device=device), hits, rank)


def _hits(similarity: torch.Tensor, positive: torch.Tensor, k: int) -> torch.Tensor:
    """Say whether each of the ``k`` most similar is of the query's class ``(b, K)``; ``similarity`` is not kept.

    On the CPU NumPy sorts the similarities alone, several times as fast as torch finds their places: multiples of the
    grid that are a nudge too low are those of positives.
    """
    if similarity.device.type != "cpu":
        return positive.gather(1, similarity.topk(k, dim=1).indices)
    keys = similarity.neg_().numpy()
    keys.partition(k - 1, axis=1)
    nearest = keys[:, :k]
    nearest.sort(axis=1)
    return torch.from_numpy((nearest / NUDGE).astype(np.int64) % 2 == 1)


def _first_hit(similarity: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    best = similarity.masked_fill(~positive, -torch.inf).amax(dim=1, keepdim=True)  # (b, 1)
    return 1 + (similarity > best).sum(dim=1)
