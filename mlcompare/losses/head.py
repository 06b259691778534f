"""Classification heads: class weights ``(C, D)`` that turn embeddings into logits."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mlcompare.geometry import Number, normalize, scalar
from mlcompare.losses.base import Loss
from mlcompare.losses.projection import project
from mlcompare.registry import Hyperparameter

__all__ = ["CosineHead", "Head", "MarginHead", "SoftmaxHead"]


class Head(Loss):
    """A loss that owns ``class_weights (C, D)``, drawn from N(0, 1/D)."""

    needs = ("num_classes", "embedding_dim")
    class_rows: tuple[str, ...] = ("class_weights",)
    num_classes: int  # `needs` demands both
    embedding_dim: int
    group = "softmax"
    class_weights: nn.Parameter

    def setup(self, generator: torch.Generator | None) -> None:
        weights = torch.randn(self.num_classes, self.embedding_dim, generator=generator)
        self.class_weights = nn.Parameter(weights / self.embedding_dim**0.5)  # (C, D)

    def cosines(self, embeddings: Tensor, scale: Number = 1.0) -> Tensor:
        """Return s·cos θ between embeddings and class weights, ``(B, C)``; s goes in before the product (B·D work)."""
        return (scale * normalize(embeddings)) @ normalize(self.class_weights.to(embeddings.dtype)).T

    def scaled_cosines(self, embeddings: Tensor, labels: Tensor, scale: Number) -> tuple[Tensor, Tensor]:
        """Return s·cos θ, ``(B, C)``, and those of the targets, ``(B, 1)``."""
        return project(scale * normalize(embeddings), self.class_weights.to(embeddings.dtype), labels)

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return what a prediction ranks the classes by, ``(B, C)``: no margin, no scale."""
        return self.cosines(embeddings)

    def each(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return what each sample costs by itself, ``(B,)``, of which the loss is the mean.

        A loss whose samples don't stand by themselves (it weighs them against each other, or keeps a running state)
        overrides :meth:`compute` instead.
        """
        raise NotImplementedError

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        return self.each(embeddings, labels).mean()


class SoftmaxHead(Head):
    """The cross-entropy of :meth:`margin_logits`.

    A column of them depends on its own class's rows and on the sample alone, so that the rows may lie apart, in several
    processes. A subclass whose columns look at each other says so: ``columns_apart = False``.
    """

    columns_apart: ClassVar[bool] = True

    def margin_logits(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the logits ``(B, C)``, the target's as the loss changes it."""
        return self.logits(embeddings)

    def each(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self.margin_logits(embeddings, labels), labels, reduction="none")


class CosineHead(SoftmaxHead):
    """Cross-entropy over ``s · cos θ`` in which a subclass changes the target's cosine alone.

    ``L = −log e^{s·ψ(cos θ_y)} / (e^{s·ψ(cos θ_y)} + Σ_{j≠y} e^{s·cos θ_j})`` with ψ = :meth:`target_cosine` and
    s = :meth:`current_scale`.
    """

    def current_scale(self) -> Tensor:
        """Return s, 0-dim."""
        raise NotImplementedError

    def target_cosine(self, cosine: Tensor) -> Tensor:
        """Return ψ of the target cosines ``(B, 1)``."""
        return cosine

    def margin_logits(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        scale = self.current_scale()  # ()
        logits, mine = self.scaled_cosines(embeddings, labels, scale)  # (B, C), (B, 1)
        return logits.scatter(1, labels[:, None], scale * self.target_cosine(mine / scale))


class MarginHead(CosineHead):
    """A :class:`CosineHead` with a fixed scale, which is where margins live."""

    group = "margin"
    scale: float = Hyperparameter(30.0, low=4.0, high=128.0, log=True, positive=True, symbol="s")

    def current_scale(self) -> Tensor:
        return scalar(self.scale)
