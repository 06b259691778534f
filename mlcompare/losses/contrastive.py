"""Contrastive loss over pairs."""

from __future__ import annotations

from torch import Tensor

from mlcompare.geometry import euclidean_distances, masked_mean, negative_mask, normalize, positive_mask
from mlcompare.losses.base import Loss
from mlcompare.registry import Hyperparameter, Option, register_loss

__all__ = ["Contrastive"]


@register_loss("contrastive", family="metric", reference="Hadsell et al. 2006; Sun et al. 2014, arXiv:1406.4773")
class Contrastive(Loss):
    """Contrastive loss: ``mean_P ½[d − m_p]₊² + mean_N ½[m − d]₊²``."""

    kind = "pair"
    margin: float = Hyperparameter(0.5, low=0.3, high=1.6, minimum=0.0, symbol="m", unit="distance")
    positive_margin: float = Hyperparameter(0.0, low=0.0, high=0.5, minimum=0.0, symbol="m_p", unit="distance")
    normalize: bool = Option(True, choices=(True, False), description="L2-normalise the embeddings first")

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        embeddings = normalize(embeddings) if self.normalize else embeddings
        distances = euclidean_distances(embeddings, normalized=self.normalize)  # (B, B)
        pull = 0.5 * (distances - self.positive_margin).clamp_min(0).square()
        push = 0.5 * (self.margin - distances).clamp_min(0).square()
        return masked_mean(pull, positive_mask(labels)) + masked_mean(push, negative_mask(labels))
