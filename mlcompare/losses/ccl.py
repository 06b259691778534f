"""Centralized coordinate learning."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mlcompare.geometry import normalize
from mlcompare.losses.citation import cite
from mlcompare.losses.head import Head
from mlcompare.losses.running import register_moments, update_moments
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["CCL"]

VARIANCE_FLOOR = 1e-5


@register_loss(
    "ccl",
    family="margin",
    reference="Qi & Zhang 2018, arXiv:1801.05678",
    bibtex=cite(
        "qi2018face",
        "Qi, Xianbiao and Zhang, Lei",
        "Face Recognition via Centralized Coordinate Learning",
        year=2018,
        arxiv="1801.05678",
    ),
)
class CCL(Head):
    """Centralized coordinate learning: ``CE(‖Φ(x)‖·cos θ_j)`` with ``Φ(x) = (x − o)/σ`` in each coordinate.

    o and σ are moving averages of the batches' mean and standard deviation (``momentum`` is the share that stays),
    updated in train mode before they are used, and constants to the gradient: batch norm, by contrast
    (:class:`~mlcompare.losses.deepvisage.DeepVisage`), normalises by the batch's own statistics in training. Class
    weights ``(C, D)`` are normalised, no bias. Not checked against the paper, whose additional angular margin is
    left out.

    >>> loss = CCL(num_classes=2, embedding_dim=2).eval()
    >>> _ = loss.class_weights.data.copy_(torch.eye(2))
    >>> round(loss(torch.tensor([[3.0, 0.0]]), torch.tensor([0])).item(), 4)  # o = 0, σ = 1: log(1 + e^{−3})
    0.0486
    """

    momentum: float = Hyperparameter(0.99, low=0.9, high=0.995, minimum=0.0, maximum=1.0, unit="share that stays")

    mean: Tensor
    variance: Tensor

    def setup(self, generator: torch.Generator | None) -> None:
        super().setup(generator)
        register_moments(self, self.embedding_dim)

    def logits(self, embeddings: Tensor) -> Tensor:
        deviation = self.variance.clamp_min(VARIANCE_FLOOR).sqrt()  # (D,)
        centralized = (embeddings - self.mean.to(embeddings.dtype)) / deviation.to(embeddings.dtype)  # (B, D)
        return centralized @ normalize(self.class_weights.to(embeddings.dtype)).T  # (B, C)

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        if self.training:
            update_moments(self, embeddings, self.momentum)
        return F.cross_entropy(self.logits(embeddings), labels)
