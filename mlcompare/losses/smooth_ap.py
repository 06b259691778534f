"""Smooth-AP: average precision with sigmoids for steps."""

from __future__ import annotations

import torch
from torch import Tensor

from mlcompare.geometry import cosine_similarities, masked_mean
from mlcompare.losses.base import Loss
from mlcompare.losses.citation import cite
from mlcompare.losses.ranking import QUERY, gaps, listed, soft_ranks
from mlcompare.registry import Hyperparameter, Option, register_loss

__all__ = ["SmoothAP"]


@register_loss(
    "smooth_ap",
    family="metric",
    reference="Brown et al. 2020, arXiv:2007.12163",
    bibtex=cite(
        "brown2020smooth",
        "Brown, Andrew and Xie, Weidi and Kalogeiton, Vicky and Zisserman, Andrew",
        "Smooth-AP: Smoothing the Path Towards Large-Scale Image Retrieval",
        venue="European Conference on Computer Vision (ECCV)",
        year=2020,
        arxiv="2007.12163",
    ),
)
class SmoothAP(Loss):
    """Smooth-AP: the mean over anchors of ``1 − 1/|P| Σ_{p∈P} R(p, P)/R(p, all)``, R being soft ranks.

    ``R(p, S) = 1 + Σ_{j∈S, j≠p} σ((s_aj − s_ap)/τ)`` counts what stands before p in anchor a's list of the other
    samples, by cosines s of embeddings ``(B, D)``; with τ → 0 it is one less the average precision. Anchors without a
    positive are dropped. It compares lists, not pairs: a negative costs what it costs the positives behind it. Memory
    is ``O(B³)``.

    ``query="counted"`` keeps the anchor in its own list, as a positive that is always first: so do the authors' code
    (Andrew-Brown1/Smooth_AP, src/Smooth_AP_loss.py), with which value and gradient of that option were compared, and
    pytorch-metric-learning's. ``left_out``, the paper's positives, differs in that alone. τ is theirs, its range a
    choice of this package's.

    >>> x, y = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 0.5]]), torch.tensor([0, 0, 1])
    >>> round(SmoothAP()(x, y).item(), 4)  # both find the positive second: precision ½
    0.5
    """

    group = "list"
    temperature: float = Hyperparameter(0.01, low=0.002, high=0.2, log=True, positive=True, symbol="τ")
    query: str = Option("left_out", choices=QUERY, description="whether an anchor is in its own list")

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        everyone, relevant = listed(labels, self.query)  # (B, B)
        before = torch.sigmoid(gaps(cosine_similarities(embeddings, embeddings)) / self.temperature)  # (B, B, B)
        precision = soft_ranks(before, relevant) / soft_ranks(before, everyone)  # (B, B)
        count = relevant.sum(1)  # (B,)
        average = torch.where(relevant, precision, 0.0).sum(1) / count.clamp_min(1)  # (B,)
        return masked_mean(1 - average, count > 0)
