"""Class-balanced softmax: samples weighted by the effective number of their class."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mlcompare.losses.citation import cite
from mlcompare.losses.counts import effective_weights, register_counts
from mlcompare.losses.softmax import LinearHead
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["ClassBalancedSoftmax"]


@register_loss(
    "class_balanced_softmax",
    family="margin",
    reference="Cui et al. 2019, arXiv:1901.05555",
    bibtex=cite(
        "cui2019class",
        "Cui, Yin and Jia, Menglin and Lin, Tsung-Yi and Song, Yang and Belongie, Serge",
        "Class-Balanced Loss Based on Effective Number of Samples",
        venue="Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
        year=2019,
        arxiv="1901.05555",
    ),
)
class ClassBalancedSoftmax(LinearHead):
    """Class-balanced softmax: the batch mean of ``w_y·CE(w_jᵀx + b_j)``, ``w_j ∝ (1 − β)/(1 − β^{n_j})``.

    n_j is the number of training samples of class j (``class_counts``); ``(1 − β^n)/(1 − β)`` is how many of them count
    as new where β is (N − 1)/N. The weights have a mean of 1 over the classes. β = 0, or no counts, is plain softmax, β
    towards 1 weights by ``1/n_j``. The paper tries β of .9, .99, .999 and .9999; which of them is the default here is
    a choice of this package's. Embeddings ``(B, D)``, class weights ``(C, D)`` and bias ``(C,)`` are free. It weights
    samples and moves no decision boundary, unlike
    :class:`~mlcompare.losses.logit_adjusted.LogitAdjustedSoftmax` and :class:`~mlcompare.losses.ldam.LDAM`.

    The weights were compared with the lines of the authors' code that make them (src/cifar_main.py of
    richardaecn/class-balanced-loss), which like this takes a plain mean over the batch; the rest of it, TensorFlow 1,
    was read and not run.

    >>> loss = ClassBalancedSoftmax(num_classes=2, embedding_dim=2, class_counts=[2, 1], beta=0.5)
    >>> round(loss(torch.zeros(1, 2), torch.tensor([1])).item(), 4)  # weights ⅔ and 1, over ⅚: 1.2·log 2
    0.8318
    """

    group = "long_tail"
    class_rows = ("class_weights", "bias", "counts")
    beta: float = Hyperparameter(
        0.999,
        low=0.9,
        high=0.9999,
        minimum=0.0,
        maximum=0.999999,
        symbol="β",
        description="(N − 1)/N",
    )

    counts: Tensor

    def setup(self, generator: torch.Generator | None) -> None:
        super().setup(generator)
        register_counts(self, self.num_classes)

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        each = F.cross_entropy(self.logits(embeddings), labels, reduction="none")  # (B,)
        return (effective_weights(self.counts, self.beta)[labels] * each).mean()
