"""Noise-resistant softmax: trust the label, and a little the prediction."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from mlcompare.losses.arcface import ArcFace
from mlcompare.losses.citation import cite
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["NoiseResistantSoftmax"]


@register_loss(
    "noise_resistant_softmax",
    family="margin",
    reference="Zhong et al. 2019, Unequal-Training for Deep Face Recognition With Long-Tailed Noisy Data, CVPR",
    bibtex=cite(
        "zhong2019unequal",
        "Zhong, Yaoyao and Deng, Weihong and Wang, Mei and Hu, Jiani and Peng, Jianteng and Tao, Xunqiang and "
        "Huang, Yaohai",
        "Unequal-Training for Deep Face Recognition With Long-Tailed Noisy Data",
        venue="Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
        year=2019,
    ),
)
class NoiseResistantSoftmax(ArcFace):
    """Noise-resistant softmax: ``β·CE(y) + (1−β)·CE(argmax_j cos θ_j)`` on ArcFace logits.

    Both cross-entropies see the same logits, with the margin on the label y; the predicted class is that of the plain
    cosines, before any margin, and carries no gradient. β = 1 is ArcFace. As commonly stated.

    >>> import torch
    >>> loss = NoiseResistantSoftmax(num_classes=2, embedding_dim=2, margin=0.0, scale=1.0, beta=0.75)
    >>> _ = loss.class_weights.data.copy_(torch.eye(2))
    >>> x, y = torch.tensor([[3.0, 0.0]]), torch.tensor([1])  # predicted: class 0
    >>> round(loss(x, y).item(), 4)  # ¾·log(1 + e) + ¼·log(1 + e^{−1})
    1.0633
    """

    beta: float = Hyperparameter(
        0.9, low=0.5, high=1.0, minimum=0.0, maximum=1.0, symbol="β", description="trust in the label"
    )

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        logits = self.margin_logits(embeddings, labels)  # (B, C)
        predicted = self.cosines(embeddings).detach().argmax(1)  # (B,)
        trusted, guessed = F.cross_entropy(logits, labels), F.cross_entropy(logits, predicted)
        return self.beta * trusted + (1 - self.beta) * guessed
