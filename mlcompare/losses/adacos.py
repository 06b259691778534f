"""AdaCos: a scale without a hyperparameter."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from mlcompare.losses.angular import angle
from mlcompare.losses.citation import cite
from mlcompare.losses.head import Head
from mlcompare.losses.running import write
from mlcompare.registry import register_loss

__all__ = ["AdaCos"]

SCALE_FLOOR = 0.5  # √2·log(C−1) is 0 for two classes, and a scale of 0 never leaves it


@register_loss(
    "adacos",
    family="margin",
    reference="Zhang et al. 2019, arXiv:1905.00292",
    bibtex=cite(
        "zhang2019adacos",
        "Zhang, Xiao and Zhao, Rui and Qiao, Yu and Wang, Xiaogang and Li, Hongsheng",
        "AdaCos: Adaptively Scaling Cosine Logits for Effectively Learning Deep Face Representations",
        venue="Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
        year=2019,
        arxiv="1905.00292",
    ),
)
class AdaCos(Head):
    """AdaCos (dynamic): ``CE(s_t·cos θ_j)`` with a scale that follows the batch, and nothing to tune.

    ``s_0 = √2·log(C−1)``; in train mode ``s_t = log(B_avg) / cos(min(π/4, θ_med))`` before the loss is taken, where
    B_avg is the batch mean of ``Σ_{j≠y} e^{s_{t−1}·cos θ_j}`` and θ_med the median target angle. Eval mode keeps the
    last scale. s never falls below .5 (with two classes s_0 would be 0). Embeddings ``(B, D)`` and class weights
    ``(C, D)`` are normalised. It is not the paper's fixed variant, which keeps s_0.

    >>> loss = AdaCos(num_classes=11, embedding_dim=2)
    >>> round(loss.scale.item(), 4)  # √2·log 10
    3.2563
    """

    scale: Tensor

    def setup(self, generator: torch.Generator | None) -> None:
        super().setup(generator)
        start = max(math.sqrt(2) * math.log(max(self.num_classes - 1, 1)), SCALE_FLOOR)
        self.register_buffer("scale", torch.tensor(start, dtype=torch.float32))

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        cosine = self.cosines(embeddings)  # (B, C)
        if self.training:
            self._update(cosine.detach(), labels[:, None])
        return F.cross_entropy(self.scale.clone() * cosine, labels)

    @torch.no_grad()
    def _update(self, cosine: Tensor, target: Tensor) -> None:
        others = (self.scale * cosine).scatter(1, target, -torch.inf)  # (B, C)
        log_average = others.flatten().logsumexp(0) - math.log(len(cosine))  # log B_avg
        median = angle(cosine.gather(1, target)).flatten().median()  # θ_med
        scale = log_average / median.clamp_max(math.pi / 4).cos()
        write(self, "scale", scale.clamp_min(SCALE_FLOOR))
