"""Classification heads: class weights ``(C, D)`` that turn embeddings into logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mlcompare.geometry import cosine_similarities
from mlcompare.losses.base import Loss
from mlcompare.registry import Hyperparameter

__all__ = ["Head", "MarginHead"]


class Head(Loss):
    """A loss that owns ``class_weights (C, D)``, drawn from N(0, 1/D)."""

    needs = ("num_classes", "embedding_dim")
    kind = "softmax"

    def setup(self, generator: torch.Generator | None) -> None:
        weights = torch.randn(self.num_classes, self.embedding_dim, generator=generator)
        self.class_weights = nn.Parameter(weights / self.embedding_dim**0.5)  # (C, D)

    def cosines(self, embeddings: Tensor) -> Tensor:
        """Return cos θ between embeddings and class weights, ``(B, C)``."""
        return cosine_similarities(embeddings, self.class_weights.to(embeddings.dtype))


class MarginHead(Head):
    """Cross-entropy over ``s · cos θ`` in which a subclass changes the target's cosine alone.

    ``L = −log e^{s·ψ(cos θ_y)} / (e^{s·ψ(cos θ_y)} + Σ_{j≠y} e^{s·cos θ_j})`` with ψ = :meth:`target_cosine`.
    """

    kind = "margin"
    scale: float = Hyperparameter(30.0, low=4.0, high=128.0, log=True, positive=True, symbol="s")

    def target_cosine(self, cosine: Tensor) -> Tensor:
        """Return ψ of the target cosines ``(B, 1)``."""
        raise NotImplementedError

    def current_scale(self) -> Tensor:
        """Return s; a schedule or a learned scale overrides it."""
        return self.scale

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        cosine = self.cosines(embeddings)  # (B, C)
        target = labels[:, None]  # (B, 1)
        changed = self.target_cosine(cosine.gather(1, target))  # (B, 1)
        return F.cross_entropy(self.current_scale() * cosine.scatter(1, target, changed), labels)
