"""Noise-resistant softmax: trust the label, and a little the prediction; and the term that trains beside it."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from mlcompare.geometry import cosine_similarities, negative_mask, normalize
from mlcompare.losses.arcface import ArcFace
from mlcompare.losses.base import Loss
from mlcompare.losses.citation import cite
from mlcompare.registry import Hyperparameter, Option, register_loss

__all__ = ["DispersionTerm", "NoiseResistantSoftmax"]

REFERENCE = "Zhong et al. 2019, Unequal-Training for Deep Face Recognition With Long-Tailed Noisy Data, CVPR"
BIBTEX = cite(
    "zhong2019unequal",
    "Zhong, Yaoyao and Deng, Weihong and Wang, Mei and Hu, Jiani and Peng, Jianteng and Tao, Xunqiang and "
    "Huang, Yaohai",
    "Unequal-Training for Deep Face Recognition With Long-Tailed Noisy Data",
    venue="Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
    year=2019,
)


@register_loss("noise_resistant_softmax", family="margin", reference=REFERENCE, bibtex=BIBTEX)
class NoiseResistantSoftmax(ArcFace):
    """Noise-resistant softmax: ``β·CE(y) + (1−β)·CE(argmax_j)`` on ArcFace logits.

    Both cross-entropies see the same logits, with the margin on the label y. The predicted class, which carries no
    gradient, is that of the logits after the margin (``pseudo_label="after_margin"``: train_NR.py of the authors'
    repository, whose formula this was compared with, up to a constant factor) or of the plain cosines
    (``"before_margin"``), which disagrees with the label less often. β = 1 is ArcFace; .9 is the official script's. The
    second stream of the official training, on classes with few images, is :class:`DispersionTerm`.

    >>> import torch
    >>> loss = NoiseResistantSoftmax(num_classes=2, embedding_dim=2, margin=0.0, scale=1.0, beta=0.75)
    >>> _ = loss.class_weights.data.copy_(torch.eye(2))
    >>> x, y = torch.tensor([[3.0, 0.0]]), torch.tensor([1])  # predicted: class 0
    >>> round(loss(x, y).item(), 4)  # ¾·log(1 + e) + ¼·log(1 + e^{−1})
    1.0633
    """

    group = "noise"
    beta: float = Hyperparameter(
        0.9, low=0.5, high=1.0, minimum=0.0, maximum=1.0, symbol="β", description="trust in the label"
    )
    pseudo_label: str = Option(
        "after_margin", choices=("after_margin", "before_margin"), description="which logits predict the class"
    )

    def each(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        logits = self.margin_logits(embeddings, labels)  # (B, C)
        predicting = logits if self.pseudo_label == "after_margin" else self.cosines(embeddings)  # (B, C)
        predicted = predicting.detach().argmax(1)  # (B,)
        trusted, guessed = (F.cross_entropy(logits, taken, reduction="none") for taken in (labels, predicted))
        return self.beta * trusted + (1 - self.beta) * guessed


@register_loss("dispersion_term", family="margin", group="term", reference=REFERENCE, term=True, bibtex=BIBTEX)
class DispersionTerm(Loss):
    """Inter-class dispersion: ``λ/K² · Σ_{j≠k} (m_jᵀm_k)²`` over the K classes of the batch, for a sum with a head.

    m_j is the mean of the normalised embeddings ``(B, D)`` of class j, normalised again: classes are pushed towards
    right angles. Nothing inside a class is pulled, which suits classes with a few noisy images: the official code
    (train_debug_soft_gs.py, whose formula this was compared with) feeds it three images each of the rare classes while
    the noise-resistant softmax sees the frequent ones; here both see the same batch. The means are of embeddings, not
    class weights. λ = 1 is the first stage of the official commands, 5 the second.

    >>> import torch
    >>> x = torch.tensor([[2.0, 0.0], [3.0, 0.0], [0.6, 0.8]])
    >>> round(DispersionTerm()(x, torch.tensor([0, 0, 1])).item(), 4)  # 2·.6²/2²
    0.18
    """

    group = "term"
    weight: float = Hyperparameter(1.0, low=0.01, high=10.0, log=True, minimum=0.0, symbol="λ")

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        same = (labels[:, None] == labels[None, :]).to(embeddings.dtype)  # (B, B)
        share = 1 / same.sum(1)  # (B,): each class counts as one
        means = share[:, None] * (same @ normalize(embeddings))  # (B, D): the mean of the sample's class
        squares = cosine_similarities(means, means).square() * negative_mask(labels)  # (B, B)
        return self.weight * (share @ squares @ share) / share.sum().square()
