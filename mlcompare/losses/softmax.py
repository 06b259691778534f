"""Plain softmax: the classifier every margin loss starts from."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mlcompare.losses.head import Head
from mlcompare.registry import register_loss

__all__ = ["Softmax"]


@register_loss("softmax", family="margin", reference="Bridle 1990; Sun et al. 2014, arXiv:1406.4773")
class Softmax(Head):
    """Cross-entropy over a linear classifier, ``CE(W x + b)``."""

    def setup(self, generator: torch.Generator | None) -> None:
        super().setup(generator)
        self.bias = nn.Parameter(torch.zeros(self.num_classes))  # (C,)

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        weights, bias = self.class_weights.to(embeddings.dtype), self.bias.to(embeddings.dtype)
        return F.cross_entropy(F.linear(embeddings, weights, bias), labels)
