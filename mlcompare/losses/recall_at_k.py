"""Recall@k with sigmoids for steps."""

from __future__ import annotations

import torch
from torch import Tensor

from mlcompare.geometry import cosine_similarities, masked_mean
from mlcompare.losses.base import Loss
from mlcompare.losses.citation import cite
from mlcompare.losses.ranking import QUERY, gaps, listed, soft_ranks
from mlcompare.registry import Hyperparameter, Option, register_loss

__all__ = ["RecallAtK"]

KS = (1, 2, 4, 8, 16)  # the official code's default


@register_loss(
    "recall_at_k",
    family="metric",
    reference="Patel et al. 2022, arXiv:2108.11179",
    bibtex=cite(
        "patel2022recall",
        "Patel, Yash and Tolias, Giorgos and Matas, Jiří",
        "Recall@k Surrogate Loss with Large Batches and Similarity Mixup",
        venue="Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
        year=2022,
        arxiv="2108.11179",
    ),
)
class RecallAtK(Loss):
    """Recall@k surrogate: ``1 − mean_k mean_a 1/min(k, |P|) Σ_{p∈P} σ((k − r_p)/τ_k)`` over k = 1, 2, 4, 8, 16.

    ``r_p = 1 + Σ_{j≠p} σ((s_aj − s_ap)/τ)`` is the soft rank of p in anchor a's list of the other samples, by cosines s
    of embeddings ``(B, D)``; the sum over p counts at most as k, and k at most as B. What it counts is the share of
    the first k places that hold a positive, or of the positives where these are fewer. τ_k = 1 is wide, so that
    positives far down still learn. Anchors without a positive or a negative are dropped. Memory is ``O(B³)``.

    ``query="counted"`` keeps the anchor in its own list, where it takes the first place and moves every rank by one: so
    does the authors' code (yash0307/RecallatK_surrogate, src/losses.py), with which value and gradient of that option
    were compared; ``left_out`` ranks as an evaluation does. Similarity mixup is left out. τ and τ_k are theirs, the
    ranges a choice of this package's.

    >>> x, y = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 0.5]]), torch.tensor([0, 0, 1])
    >>> round(RecallAtK(rank_temperature=0.01)(x, y).item(), 4)  # rank 2: none at k = 1, half at 2, found at 3 (= B)
    0.3
    """

    group = "list"
    temperature: float = Hyperparameter(0.01, low=0.002, high=0.2, log=True, positive=True, symbol="τ")
    rank_temperature: float = Hyperparameter(
        1.0, low=0.1, high=10.0, log=True, positive=True, symbol="τ_k", unit="ranks"
    )
    query: str = Option("left_out", choices=QUERY, description="whether an anchor is in its own list")

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        everyone, relevant = listed(labels, self.query)  # (B, B)
        positives = relevant & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)  # (B, B)
        before = torch.sigmoid(gaps(cosine_similarities(embeddings, embeddings)) / self.temperature)  # (B, B, B)
        ranks = soft_ranks(before, everyone)  # (B, B)
        count = positives.sum(1)  # (B,)
        recalls = []
        for k in (min(k, len(labels)) for k in KS):
            hits = torch.where(positives, torch.sigmoid((k - ranks) / self.rank_temperature), 0.0).sum(1)  # (B,)
            recalls.append(hits.clamp_max(k) / count.clamp(1, k))
        recall = torch.stack(recalls).mean(0)  # (B,)
        return masked_mean(1 - recall, positives.any(1) & (everyone & ~relevant).any(1))
