"""Retrieval: recall@k, precision@k, R-precision, MAP@R (Musgrave et al. 2020, arXiv:2003.08505) and MRR.

Every score is a mean over queries of one number for each query; the functions here turn ranked lists into them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mlcompare.errors import InvalidValueError
from mlcompare.evaluation.inputs import Samples
from mlcompare.evaluation.neighbours import Ranked, Task, ranked_lists
from mlcompare.metrics import Metric

__all__ = ["map_at_r", "precision_at_k", "r_precision", "recall_at_k", "retrieval_scores"]


def recall_at_k(hits: torch.Tensor, k: int) -> torch.Tensor:
    """1 where one of the first k neighbours has the query's class, else 0 (the field's recall@k).

    Args:
        hits: ``(Q, K)`` bool, ``K >= k``: whether the neighbour of each rank has the query's class.

    >>> recall_at_k(torch.tensor([[False, True], [False, False]]), 2).tolist()
    [1.0, 0.0]
    """
    return hits[:, :k].any(dim=1).double()


def precision_at_k(hits: torch.Tensor, k: int) -> torch.Tensor:
    """Share of the first k neighbours that have the query's class: ``hits (Q, K)`` → ``(Q,)``."""
    return hits[:, :k].double().mean(dim=1)


def r_precision(hits: torch.Tensor, positives: torch.Tensor) -> torch.Tensor:
    """Share of the first R neighbours that have the query's class, R being how many there are to find.

    Args:
        hits: ``(Q, K)`` bool, ``K >= max(R)``.
        positives: ``(Q,)``, R of each query.

    >>> r_precision(torch.tensor([[True, False, True]]), torch.tensor([2])).tolist()
    [0.5]
    """
    return _within_r(hits, positives).sum(dim=1) / positives.double()


def map_at_r(hits: torch.Tensor, positives: torch.Tensor) -> torch.Tensor:
    """Mean average precision at R: ``1/R Σ_{i=1..R} P(i)`` with ``P(i)`` the precision at i if rank i is a hit, else 0.

    Musgrave et al. 2020, section 3.1. Not MAP, which sums over the whole ranking, and not AP divided by the hits found.

    Args:
        hits: ``(Q, K)`` bool, ``K >= max(R)``.
        positives: ``(Q,)``, R of each query.

    >>> map_at_r(torch.tensor([[True, False, True]]), torch.tensor([3])).tolist()  # (1/1 + 2/3) / 3
    [0.5555555555555555]
    """
    relevant = _within_r(hits, positives)  # (Q, K)
    rank = torch.arange(1, hits.shape[1] + 1, device=hits.device)
    precision = relevant.cumsum(dim=1) / rank.double()  # (Q, K)
    return (precision * relevant).sum(dim=1) / positives.double()


def _within_r(hits: torch.Tensor, positives: torch.Tensor) -> torch.Tensor:
    return hits & (torch.arange(hits.shape[1], device=hits.device) < positives[:, None])


def retrieval_scores(
    samples: Samples, task: Task, metrics: Sequence[Metric], *, chunk_size: int | None = None
) -> dict[str, np.ndarray]:
    """Score every query: metric name → ``(Q,)`` values in the order of ``task.query``.

    Raises:
        InvalidValueError: k is larger than the gallery.
    """
    depth = _depth(task, metrics)
    scores = {metric.name: np.empty(len(task.query)) for metric in metrics}
    positives = torch.as_tensor(task.positives, device=samples.codes.device)
    needs_first = any(metric.stem == "mrr" for metric in metrics)
    for ranked in ranked_lists(samples, task, depth, first=needs_first, chunk_size=chunk_size):
        rows = ranked.rows.cpu().numpy()
        for metric in metrics:
            scores[metric.name][rows] = _score(metric, ranked, positives[ranked.rows]).cpu().numpy()
    return scores


def _depth(task: Task, metrics: Sequence[Metric]) -> np.ndarray:
    """How many neighbours of each query the metrics look at, ``(Q,)``."""
    largest = max([metric.k for metric in metrics if metric.k], default=1)
    if largest > task.candidates:
        raise InvalidValueError(
            "k must not exceed the number of samples to search", value=f"k={largest} for {task.candidates}",
            cure="ask for a smaller k, or give a larger gallery", place="evaluate_embeddings",
        )  # fmt: skip
    whole_class = any(metric.stem in ("map_at_r", "r_precision") for metric in metrics)
    return np.maximum(largest, task.positives) if whole_class else np.full(len(task.query), largest)


def _score(metric: Metric, ranked: Ranked, positives: torch.Tensor) -> torch.Tensor:
    match metric.stem:
        case "recall_at" if metric.k is not None:
            return recall_at_k(ranked.hits, metric.k)
        case "precision_at" if metric.k is not None:
            return precision_at_k(ranked.hits, metric.k)
        case "map_at_r":
            return map_at_r(ranked.hits, positives)
        case "r_precision":
            return r_precision(ranked.hits, positives)
        case "mrr" if ranked.first is not None:
            return 1.0 / ranked.first.double()
    raise AssertionError(metric.stem)
