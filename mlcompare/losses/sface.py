"""SFace: how far a sample is pulled to its class and pushed from others is limited by sigmoids of the angle."""

from __future__ import annotations

import torch
from torch import Tensor

from mlcompare.losses.angular import angle
from mlcompare.losses.citation import cite
from mlcompare.losses.head import MarginHead
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["SFace"]


@register_loss(
    "sface",
    family="margin",
    reference="Zhong et al. 2021, arXiv:2205.12010",
    bibtex=cite(
        "zhong2021sface",
        "Zhong, Yaoyao and Deng, Weihong and Hu, Jiani and Zhao, Dongyue and Li, Xian and Wen, Dongchao",
        "SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition",
        journal="IEEE Transactions on Image Processing",
        year=2021,
        arxiv="2205.12010",
    ),
)
class SFace(MarginHead):
    """SFace: the batch mean of ``−r_y·s·cos θ_y + Σ_{j≠y} r_j·s·cos θ_j`` with sigmoids r of the angles.

    ``r_y = σ(k(θ_y − a))`` and ``r_j = σ(k(b − θ_j))`` carry no gradient: they say how hard the own class pulls and the
    others push, on the sphere. Within a of its class nothing pulls any more, and farther than b from another class
    nothing pushes, so that clean samples needn't be squeezed, and wrongly labelled ones not followed, to the end. Since
    the sigmoids fade, the value may rise as training goes on: it is the gradient that is meant, and values of two
    trainings say nothing. There is no softmax: classes don't compete. a and b in radians; embeddings ``(B, D)`` and
    class weights ``(C, D)`` are normalised.

    Value and gradient were compared with SFace_torch/head/metrics.py of the authors' repository (zhongyy/SFace), whose
    defaults these are; the ranges are a choice of this package's.

    >>> loss = SFace(num_classes=2, embedding_dim=2, scale=1.0, k=1e-6)  # both sigmoids are ½
    >>> _ = loss.class_weights.data.copy_(torch.eye(2))
    >>> round(loss(torch.tensor([[0.6, 0.8]]), torch.tensor([0])).item(), 4)  # ½·(−.6 + .8)
    0.1
    """

    group = "noise"
    exact_gradient = False
    k: float = Hyperparameter(80.0, positive=True, symbol="k", unit="1/rad", description="slope of the sigmoids")
    a: float = Hyperparameter(
        0.8, low=0.5, high=1.1, minimum=0.0, maximum=3.1415, symbol="a", unit="rad", description="where pulling ends"
    )
    b: float = Hyperparameter(
        1.23, low=1.0, high=1.5, minimum=0.0, maximum=3.1415, symbol="b", unit="rad", description="where pushing ends"
    )
    scale: float = Hyperparameter(64.0, low=4.0, high=128.0, log=True, positive=True, symbol="s")

    def each(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        logits, mine = self.scaled_cosines(embeddings, labels, self.scale)  # (B, C), (B, 1)
        own, others = (angle((s / self.scale).detach()) for s in (mine, logits))  # θ, (B, 1) and (B, C)
        pull = torch.sigmoid(self.k * (own - self.a))  # (B, 1)
        push = torch.sigmoid(self.k * (self.b - others)).scatter(1, labels[:, None], 0.0)  # (B, C)
        return (push * logits).sum(1) - (pull * mine).squeeze(1)
