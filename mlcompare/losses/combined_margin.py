"""The combined margin: multiplicative, additive on the angle, additive on the cosine."""

from __future__ import annotations

from torch import Tensor

from mlcompare.losses.angular import angle
from mlcompare.losses.arcface import BIBTEX
from mlcompare.losses.head import MarginHead
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["CombinedMargin"]


@register_loss(
    "combined_margin",
    family="margin",
    reference="Deng et al. 2019, arXiv:1801.07698, eq. 4",
    bibtex=BIBTEX,
)
class CombinedMargin(MarginHead):
    """Combined margin: the target logit is ``s·(cos(m1·θ_y + m2) − m3)``; m2 in radians.

    (1, 0, 0) is NormFace and (1, 0, m) CosFace; (1, m, 0) is ArcFace without its fallback: where m1·θ + m2 passes π the
    cosine rises again here. m1 below 1 eases the angle, for m2 and m3 to make up (ArcFace's CM2 is said to be (.9, .4,
    .15): not checked against the paper). The default (1, .3, .2) is InsightFace's. Embeddings ``(B, D)`` and class
    weights ``(C, D)`` are normalised.

    >>> import torch
    >>> loss = CombinedMargin(num_classes=2, embedding_dim=2, m1=1.0, m2=0.0, m3=0.25, scale=1.0)
    >>> _ = loss.class_weights.data.copy_(torch.eye(2))
    >>> round(loss(torch.tensor([[3.0, 0.0]]), torch.tensor([0])).item(), 4)  # log(1 + e^{−(1 − .25)})
    0.3869
    """

    m1: float = Hyperparameter(1.0, low=0.9, high=1.5, positive=True, symbol="m1", unit="factor")
    m2: float = Hyperparameter(0.3, low=0.0, high=0.5, minimum=0.0, symbol="m2", unit="rad")
    m3: float = Hyperparameter(0.2, low=0.0, high=0.4, minimum=0.0, symbol="m3", unit="cosine")
    scale: float = Hyperparameter(64.0, low=4.0, high=128.0, log=True, positive=True, symbol="s")

    def target_cosine(self, cosine: Tensor) -> Tensor:
        return (self.m1 * angle(cosine) + self.m2).cos() - self.m3  # Deng et al. 2019, eq. 4
