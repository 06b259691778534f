"""Plain and modified softmax: the classifiers every margin loss starts from."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mlcompare.geometry import normalize
from mlcompare.losses.citation import cite
from mlcompare.losses.head import SoftmaxHead
from mlcompare.losses.projection import project
from mlcompare.registry import register_loss

__all__ = ["SPHEREFACE_BIBTEX", "LinearHead", "ModifiedSoftmax", "Softmax"]

SPHEREFACE_BIBTEX = cite(
    "liu2017sphereface",
    "Liu, Weiyang and Wen, Yandong and Yu, Zhiding and Li, Ming and Raj, Bhiksha and Song, Le",
    "SphereFace: Deep Hypersphere Embedding for Face Recognition",
    venue="Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition (CVPR)",
    year=2017,
    arxiv="1704.08063",
)


class LinearHead(SoftmaxHead):
    """A linear classifier with a bias ``(C,)``."""

    class_rows: tuple[str, ...] = ("class_weights", "bias")

    def setup(self, generator: torch.Generator | None) -> None:
        super().setup(generator)
        self.bias = nn.Parameter(torch.zeros(self.num_classes))  # (C,)

    def logits(self, embeddings: Tensor) -> Tensor:
        return F.linear(embeddings, self.class_weights.to(embeddings.dtype), self.bias.to(embeddings.dtype))


@register_loss(
    "softmax",
    family="margin",
    reference="Bridle 1990",
    bibtex=cite(
        "bridle1990probabilistic",
        "Bridle, John S.",
        "Probabilistic Interpretation of Feedforward Classification Network Outputs, with Relationships to "
        "Statistical Pattern Recognition",
        venue="Neurocomputing: Algorithms, Architectures and Applications",
        year=1990,
    ),
)
class Softmax(LinearHead):
    """Softmax: cross-entropy over a linear classifier, ``CE(Wᵀx + b)``.

    Embeddings ``(B, D)``, class weights ``(C, D)`` and bias ``(C,)`` are all free: nothing is normalised, unlike
    :class:`ModifiedSoftmax` (weights) and :class:`~mlcompare.losses.normface.NormFace` (both).

    >>> loss = Softmax(num_classes=2, embedding_dim=2)
    >>> _ = loss.class_weights.data.copy_(torch.eye(2))
    >>> round(loss(torch.tensor([[3.0, 0.0]]), torch.tensor([0])).item(), 4)  # log(1 + e^{−3})
    0.0486
    """


@register_loss(
    "modified_softmax",
    family="margin",
    reference="Liu et al. 2017, arXiv:1704.08063, eq. 4",
    bibtex=SPHEREFACE_BIBTEX,
)
class ModifiedSoftmax(SoftmaxHead):
    """Modified softmax: ``CE(‖x‖·cos θ_j)``, class weights normalised, no bias.

    The embeddings ``(B, D)`` keep their norm, which acts as a scale of their own; with m = 1 A-Softmax
    (:class:`~mlcompare.losses.sphereface.SphereFace`) is this loss. It is not NormFace, which normalises both.

    >>> loss = ModifiedSoftmax(num_classes=2, embedding_dim=2)
    >>> _ = loss.class_weights.data.copy_(5 * torch.eye(2))
    >>> round(loss(torch.tensor([[3.0, 0.0]]), torch.tensor([0])).item(), 4)  # log(1 + e^{−3})
    0.0486
    """

    def logits(self, embeddings: Tensor) -> Tensor:
        return embeddings @ normalize(self.class_weights.to(embeddings.dtype)).T  # (B, C)

    def margin_logits(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        return project(embeddings, self.class_weights.to(embeddings.dtype), labels)[0]  # (B, C)
