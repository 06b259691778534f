"""CurricularFace: hard negatives gain weight as training goes on."""

from __future__ import annotations

import torch
from torch import Tensor

from mlcompare.losses.arcface import ArcFace
from mlcompare.losses.citation import cite
from mlcompare.losses.running import blend
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["CurricularFace"]

MOMENTUM = 0.99


@register_loss(
    "curricularface",
    family="margin",
    reference="Huang et al. 2020, arXiv:2004.00288",
    bibtex=cite(
        "huang2020curricularface",
        "Huang, Yuge and Wang, Yuhan and Tai, Ying and Liu, Xiaoming and Shen, Pengcheng and Li, Shaoxin and "
        "Li, Jilin and Huang, Feiyue",
        "CurricularFace: Adaptive Curriculum Learning Loss for Deep Face Recognition",
        venue="Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
        year=2020,
        arxiv="2004.00288",
    ),
)
class CurricularFace(ArcFace):
    """CurricularFace: ArcFace whose hard negatives (``cos θ_j > cos(θ_y + m)``) become ``cos θ_j·(t + cos θ_j)``.

    t is a moving average (1 % of each train-mode batch, from 0) of the target cosines, updated before it is used and
    constant to the gradient: early on hard negatives are played down, later up. m in radians; the target is ArcFace's,
    with its fallback. Embeddings ``(B, D)`` and class weights ``(C, D)`` are normalised.

    >>> loss = CurricularFace(num_classes=2, embedding_dim=2, margin=0.5, scale=1.0).eval()
    >>> _ = loss.class_weights.data.copy_(torch.eye(2))
    >>> x = torch.tensor([[1.0, 1.0]])  # the negative, √½, is hard: it becomes √½·(0 + √½) = ½
    >>> round(loss(x, torch.tensor([0])).item(), 3)  # log(1 + e^{½ − cos(π/4 + ½)})
    0.808
    """

    margin: float = Hyperparameter(0.5, low=0.0, high=0.6, minimum=0.0, maximum=3.1415, symbol="m", unit="rad")

    columns_apart = False  # a hard negative is found by the target's cosine

    curriculum: Tensor

    def setup(self, generator: torch.Generator | None) -> None:
        super().setup(generator)
        self.register_buffer("curriculum", torch.zeros(()))  # t

    def margin_logits(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        cosine, target = self.cosines(embeddings), labels[:, None]  # (B, C), (B, 1)
        mine = cosine.gather(1, target)  # (B, 1)
        if self.training:
            blend(self, "curriculum", mine.detach().mean(), MOMENTUM)
        changed = self.target_cosine(mine)  # (B, 1)
        hard = cosine > self.moved(mine)  # (B, C)
        cosine = torch.where(hard, cosine * (self.curriculum.clone() + cosine), cosine)
        return self.scale * cosine.scatter(1, target, changed)
