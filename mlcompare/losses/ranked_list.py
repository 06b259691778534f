"""Ranked list loss: positives inside one distance, negatives outside another."""

from __future__ import annotations

import torch
from torch import Tensor

from mlcompare.geometry import FAR
from mlcompare.losses.citation import cite
from mlcompare.losses.pair import PairLoss
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["RankedList"]


def weighted_mean(values: Tensor, exponents: Tensor, mask: Tensor) -> Tensor:
    """Return each row's mean of ``values (B, B)`` where ``mask`` holds, weighted by ``e^exponent``: ``(B,)``, or 0."""
    shares = torch.where(mask, exponents, -FAR).softmax(1)  # (B, B)
    return torch.where(mask, shares * values, 0.0).sum(1)


@register_loss(
    "ranked_list",
    family="metric",
    reference="Wang et al. 2019, arXiv:1903.03238",
    bibtex=cite(
        "wang2019ranked",
        "Wang, Xinshao and Hua, Yang and Kodirov, Elyor and Hu, Guosheng and Garnier, Romain and Robertson, Neil M.",
        "Ranked List Loss for Deep Metric Learning",
        venue="Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
        year=2019,
        arxiv="1903.03238",
    ),
)
class RankedList(PairLoss):
    """Ranked list: the mean over anchors of ``(1 − λ)·Σ_p w_p[d_ap − (α − m)]₊ + λ·Σ_n w_n[α − d_an]₊``.

    d is the Euclidean distance of the normalised embeddings ``(B, D)``: negatives shall lie beyond α, positives within
    α − m, where nothing pulls them closer, so that a class may keep its spread. Only pairs on the wrong side count;
    their weights sum to 1 on each side, ``w_n ∝ e^{T_n(α − d)}`` and ``w_p ∝ e^{T_p(d − (α − m))}`` (equal at T_p = 0,
    the simpler form), and carry no gradient. The mean is over all anchors.

    The value was compared with pytorch-metric-learning's RankedListLoss, up to the 1e-5 for each pair that it adds to
    the sum of the weights; its gradient also flows through the weights. The authors' repository has no code of the
    loss. α, m, T_n, λ and the constant weights are the paper's as they are quoted, not checked against it; ranges are a
    choice of this package's.

    >>> import torch
    >>> x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    >>> round(RankedList()(x, torch.tensor([0, 0, 1])).item(), 4)  # 2/3·½·(2 − .8): negatives at √2 are far enough
    0.4
    """

    group = "list"
    exact_gradient = False
    margin: float = Hyperparameter(0.4, low=0.1, high=1.0, minimum=0.0, symbol="m", unit="distance")
    alpha: float = Hyperparameter(
        1.2, low=0.8, high=1.6, positive=True, symbol="α", unit="distance", description="where negatives may begin"
    )
    negative_sharpness: float = Hyperparameter(10.0, low=1.0, high=30.0, log=True, minimum=0.0, symbol="T_n")
    positive_sharpness: float = Hyperparameter(0.0, minimum=0.0, symbol="T_p")
    weight: float = Hyperparameter(
        0.5, low=0.1, high=0.9, minimum=0.0, maximum=1.0, symbol="λ", description="of the negatives"
    )

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        distances, positives, negatives = self.pairs(embeddings, labels)
        inside, outside = distances - (self.alpha - self.margin), self.alpha - distances  # (B, B): what is too much
        pull = weighted_mean(inside, self.positive_sharpness * inside.detach(), positives & (inside > 0))  # (B,)
        push = weighted_mean(outside, self.negative_sharpness * outside.detach(), negatives & (outside > 0))
        return ((1 - self.weight) * pull + self.weight * push).mean()
