"""Focal loss: well-classified samples count less."""

from __future__ import annotations

from torch import Tensor

from mlcompare.losses.citation import cite
from mlcompare.losses.softmax import LinearHead
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["Focal"]

MISS_FLOOR = 1e-6  # with γ < 1 the gradient of (1 − p)^γ is infinite at p = 1


@register_loss(
    "focal",
    family="margin",
    reference="Lin et al. 2017, arXiv:1708.02002, eq. 5",
    bibtex=cite(
        "lin2017focal",
        "Lin, Tsung-Yi and Goyal, Priya and Girshick, Ross and He, Kaiming and Dollár, Piotr",
        "Focal Loss for Dense Object Detection",
        venue="Proceedings of the IEEE International Conference on Computer Vision (ICCV)",
        year=2017,
        arxiv="1708.02002",
    ),
)
class Focal(LinearHead):
    """Focal loss: the batch mean of ``−α·(1 − p_t)^γ·log p_t``, taken sample by sample over plain softmax.

    p_t is the probability of the target among C classes; γ = 0 is cross-entropy. α is one scalar: the detector's .25
    weighs two classes against each other and has no meaning here. It is not the common port that applies (1 − p)^γ to
    the batch's mean cross-entropy.

    >>> import torch
    >>> loss = Focal(num_classes=2, embedding_dim=2, gamma=2.0)
    >>> round(loss(torch.zeros(1, 2), torch.tensor([0])).item(), 4)  # ¼·log 2
    0.1733
    """

    group = "softmax"
    gamma: float = Hyperparameter(2.0, low=0.0, high=5.0, minimum=0.0, symbol="γ", description="focus")
    alpha: float = Hyperparameter(1.0, positive=True, symbol="α", description="a factor on the whole loss")

    def each(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        log_p = self.logits(embeddings).log_softmax(1).gather(1, labels[:, None])  # (B, 1)
        miss = (-log_p.expm1()).clamp_min(MISS_FLOOR)  # 1 − p_t
        return (-self.alpha * miss**self.gamma * log_p).squeeze(1)
