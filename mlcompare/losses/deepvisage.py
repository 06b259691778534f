"""DeepVisage: batch-normalised embeddings under plain softmax."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mlcompare.losses.citation import cite
from mlcompare.losses.running import register_moments, update_moments
from mlcompare.losses.softmax import LinearHead
from mlcompare.registry import register_loss

__all__ = ["DeepVisage"]

MOMENTUM = 0.9  # batch norm's usual share that stays
VARIANCE_EPSILON = 1e-5


@register_loss(
    "deepvisage",
    family="margin",
    reference="Hasnat et al. 2017, arXiv:1703.08388",
    bibtex=cite(
        "hasnat2017deepvisage",
        "Hasnat, Abul and Bohné, Julien and Milgram, Jonathan and Gentric, Stéphane and Chen, Liming",
        "DeepVisage: Making Face Recognition Simple Yet with Powerful Generalization Skills",
        year=2017,
        arxiv="1703.08388",
    ),
)
class DeepVisage(LinearHead):
    """DeepVisage: ``CE(Wᵀ·BN(x) + b)``, batch norm without learned scale and shift before plain softmax.

    In train mode embeddings ``(B, D)`` are normalised, in each coordinate, by the batch's own mean and (biased)
    variance, through which gradients flow; in eval mode by the running ones. Not checked against the paper. A batch of
    one sample normalises to zero. It is not CCL, which uses moving averages in both modes and normalises class weights.

    >>> loss = DeepVisage(num_classes=2, embedding_dim=2)
    >>> _ = loss.class_weights.data.copy_(torch.eye(2))
    >>> x = torch.tensor([[4.0, 0.0], [2.0, 0.0]])  # BN: ±1 in the first coordinate, 0 in the second
    >>> round(loss(x, torch.tensor([0, 1])).item(), 4)  # log(1 + e^{−1})
    0.3133
    """

    mean: Tensor
    variance: Tensor

    def setup(self, generator: torch.Generator | None) -> None:
        super().setup(generator)
        register_moments(self, self.embedding_dim)

    def logits(self, embeddings: Tensor) -> Tensor:
        return super().logits(self._normalised(embeddings, self.mean, self.variance))

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        if not self.training:
            return F.cross_entropy(self.logits(embeddings), labels)
        update_moments(self, embeddings, MOMENTUM)
        normalised = self._normalised(embeddings, embeddings.mean(0), embeddings.var(0, correction=0))
        return F.cross_entropy(super().logits(normalised), labels)

    def _normalised(self, embeddings: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        mean, variance = mean.to(embeddings.dtype), variance.to(embeddings.dtype)
        return (embeddings - mean) * (variance + VARIANCE_EPSILON).rsqrt()  # (B, D)
