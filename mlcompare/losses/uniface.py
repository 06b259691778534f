"""UniFace: one learned threshold separates every sample's own class from all others."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mlcompare.losses.citation import cite
from mlcompare.losses.head import Head
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["UniFace"]

EXACT = 50.0  # softplus turns linear only where it can't be told apart


@register_loss(
    "uniface",
    family="margin",
    reference="Zhou et al. 2023, UniFace: Unified Cross-Entropy Loss for Deep Face Recognition, ICCV",
    bibtex=cite(
        "zhou2023uniface",
        "Zhou, Jiancan and Jia, Xi and Li, Qiufu and Shen, Linlin and Duan, Jinming",
        "UniFace: Unified Cross-Entropy Loss for Deep Face Recognition",
        venue="Proceedings of the IEEE/CVF International Conference on Computer Vision (ICCV)",
        year=2023,
    ),
)
class UniFace(Head):
    """UniFace (unified cross-entropy): ``log(1 + e^{b − s(cos θ_y − m)}) + λ·Σ_{j≠y} log(1 + e^{s·cos θ_j − b})``.

    b/s is one threshold of the cosine, learned, for all classes: every own cosine shall lie above it and every other
    below, as a verification with one threshold needs it; a softmax only asks that the own is the largest of its row. b
    starts at ``ln(10·r·C)``, r being the share of the classes that a step sees; λ (λ < 1: the balanced form) weighs the
    many negatives down. Summed over the classes, the mean over the batch; embeddings ``(B, D)`` and class weights
    ``(C, D)`` are normalised. It is not :class:`~mlcompare.losses.sphereface2.SphereFace2`, which bends the similarity
    and has a margin on both sides.

    Value and gradient were compared with Unified_Cross_Entropy_Loss of the authors' repository (CVI-SZU/UniFace),
    whose defaults these are, wherever no exponent lies beyond ±s: that code clips it there, so that a sample at
    ``cos θ_y < m − 1 + b/s`` is not pulled at all. Here it is. The ranges are a choice of this package's.

    >>> loss = UniFace(num_classes=2, embedding_dim=2, margin=0.0, scale=1.0)
    >>> _ = loss.class_weights.data.copy_(torch.eye(2)), loss.bias.data.zero_()
    >>> round(loss(torch.tensor([[1.0, 0.0]]), torch.tensor([0])).item(), 4)  # log(1 + e^{−1}) + log 2
    1.0064
    """

    group = "margin"
    margin: float = Hyperparameter(0.4, low=0.0, high=0.65, minimum=0.0, symbol="m", unit="cosine")
    scale: float = Hyperparameter(64.0, low=8.0, high=128.0, log=True, positive=True, symbol="s")
    weight: float = Hyperparameter(
        1.0, low=0.01, high=1.0, log=True, positive=True, symbol="λ", description="of the negatives"
    )
    fixed = ("share",)
    share: float = Hyperparameter(
        1.0, positive=True, symbol="r", description="of the classes that a step sees, where b starts"
    )

    def setup(self, generator: torch.Generator | None) -> None:
        super().setup(generator)
        self.bias = nn.Parameter(torch.tensor(math.log(10 * float(self.share) * self.num_classes)))  # b

    def each(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        logits, mine = self.scaled_cosines(embeddings, labels, self.scale)  # (B, C), (B, 1)
        bias = self.bias.to(logits.dtype)
        pull = F.softplus(bias - (mine - self.scale * self.margin), threshold=EXACT)  # (B, 1)
        push = F.softplus(logits - bias, threshold=EXACT).scatter(1, labels[:, None], 0.0)  # (B, C)
        return pull.squeeze(1) + self.weight * push.sum(1)
