"""QCFace: the embedding's norm becomes a quality, trained beside the margin and not through it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mlcompare.geometry import Number
from mlcompare.losses.angular import eased_angle
from mlcompare.losses.citation import cite
from mlcompare.losses.head import MarginHead
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["QCFace"]

EPSILON = 1e-3  # the official code's floor of norms and of a denominator


def norm_cost(norms: Tensor, p: Tensor, low: Number, high: Number) -> Tensor:
    """Return what norms n ``(B, 1)`` of samples with probabilities p ``(B, 1)`` cost above the least they can.

    ``f(n) = k·p·(1/n + n/u²) + (1 − p)·(1/n + n/l²)`` is least at n = l for p = 0 and at n = u for p = 1; k is such
    that p = ½ asks for the middle, (l + u)/2.
    """
    middle = (low + high) / 2
    k = (middle**2 / low**2 - 1) / (1 - middle**2 / high**2)

    def cost(n: Tensor) -> Tensor:
        inverse = 1 / (n + EPSILON)  # (B, 1)
        return k * p * (inverse + n / high**2) + (1 - p) * (inverse + n / low**2)

    best = (((k - 1) * p + 1) / ((k / high**2 - 1 / low**2) * p + 1 / low**2 + EPSILON)).sqrt()  # (B, 1)
    return cost(norms) - cost(best)


@register_loss(
    "qcface",
    family="margin",
    reference="Doan-Ngo et al. 2025, arXiv:2510.15289",
    bibtex=cite(
        "doanngo2025qcface",
        "Doan-Ngo, Duc-Phuong and Diep, Thanh-Dang and Nguyen-Duc, Thanh and Le, Thanh-Sach and Thoai, Nam",
        "QCFace: Image Quality Control for boosting Face Representation & Recognition",
        year=2025,
        arxiv="2510.15289",
    ),
)
class QCFace(MarginHead):
    """QCFace: ArcFace with an easy margin, plus ``λ_g`` times what ``‖x‖`` costs above the best norm for its p.

    p is the sample's probability of its class without the margin, and carries no gradient: samples that are easy to
    recognise shall be long (u), hard ones short (l), which makes the norm a measure of quality. The norm's cost and the
    margin don't touch each other: direction is learned by the one, norm by the other. That is the difference to
    :class:`~mlcompare.losses.magface.MagFace`, whose margin grows with the norm. l and u, 1 and 100, are for D = 512
    and scaled by √(D/512), λ_g with them. The cost sets in at the share ``start`` of the training: the authors train
    twice, without and then with it; half and half is a choice of this package's, as the ranges are. m in radians.

    Value and gradient of both parts were compared with model/single/qcface.py of the authors' repository
    (hpcc-hcmut/QCFace); λ_g = 1 is its run.sh.

    >>> loss = QCFace(num_classes=2, embedding_dim=512, margin=0.0, scale=100.0)
    >>> _ = loss.class_weights.data.copy_(torch.eye(2, 512))
    >>> x = torch.eye(1, 512)
    >>> [round(loss(size * x, torch.tensor([0])).item(), 1) for size in (10, 50)]  # p = 1: the longer, the better
    [277.1, 17.1]
    """

    exact_gradient = False
    margin: float = Hyperparameter(0.5, low=0.0, high=0.8, minimum=0.0, maximum=3.1415, symbol="m", unit="rad")
    scale: float = Hyperparameter(64.0, low=4.0, high=128.0, log=True, positive=True, symbol="s")
    weight: float = Hyperparameter(1.0, low=0.01, high=10.0, log=True, minimum=0.0, symbol="λ", description="λ_g")
    lower_norm: float = Hyperparameter(1.0, positive=True, symbol="l", unit="norm at D = 512")
    upper_norm: float = Hyperparameter(100.0, positive=True, symbol="u", unit="norm at D = 512")
    start: float = Hyperparameter(0.5, minimum=0.0, maximum=1.0, unit="share of the training")

    def each(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        logits, mine = self.scaled_cosines(embeddings, labels, self.scale)  # (B, C), (B, 1)
        changed = self.scale * eased_angle(mine / self.scale, self.margin)  # (B, 1)
        each = F.cross_entropy(logits.scatter(1, labels[:, None], changed), labels, reduction="none")
        p = logits.detach().softmax(1).gather(1, labels[:, None])  # (B, 1)
        norms = torch.linalg.vector_norm(embeddings, dim=1, keepdim=True) / (self.embedding_dim / 512) ** 0.5
        weight = torch.where(self.progress >= self.start, self.weight, 0.0)  # ()
        return each + weight * norm_cost(norms, p, self.lower_norm, self.upper_norm).squeeze(1)
