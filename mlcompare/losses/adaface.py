"""AdaFace: margins that follow image quality, measured by the embedding's norm within its batch."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from mlcompare.losses.citation import cite
from mlcompare.losses.head import MarginHead
from mlcompare.losses.running import blend
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["AdaFace"]

EPSILON = 1e-3  # the official code's one floor: of cosines, angles and the deviation
NORMS = (1e-3, 100.0)


@register_loss(
    "adaface",
    family="margin",
    reference="Kim et al. 2022, arXiv:2204.00964",
    bibtex=cite(
        "kim2022adaface",
        "Kim, Minchul and Jain, Anil K. and Liu, Xiaoming",
        "AdaFace: Quality Adaptive Margin for Face Recognition",
        venue="Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
        year=2022,
        arxiv="2204.00964",
    ),
)
class AdaFace(MarginHead):
    """AdaFace: the target cosine is ``cos(clip(θ_y − m·z)) − (m + m·z)``, ``z = clip(h(‖x‖ − μ)/(σ + .001), −1, 1)``.

    z, the quality, carries no gradient: low-quality samples (z = −1) meet ArcFace's margin, high-quality ones (z = 1)
    a cosine margin that spares them. The moved angle is clipped to [.001, π − .001] and the gradient goes through the
    clip: where θ_y < m·z the target has none, since a gradient of cos(θ_y − m·z) would push a good sample away. Norms
    are clipped to [.001, 100] first. μ and σ are moving averages of the batches' mean and standard deviation of ``‖x‖``
    (1 % of each train-mode batch, updated before use).

    Values and gradients were compared with head.py of the authors' repository (mk-minchul/AdaFace) at the same μ and σ,
    wherever no cosine of another class lies outside ±.999, where that code clips it. Its μ and σ start at 20 and 100,
    numbers made for 512 dimensions; here they start at the first train-mode batch. ``(B, D)`` embeddings, ``(C, D)``
    weights.

    >>> loss = AdaFace(num_classes=2, embedding_dim=2, margin=0.25, scale=1.0).eval()
    >>> _ = loss.class_weights.data.copy_(torch.eye(2)), loss.mean_norm.fill_(3.0)
    >>> round(loss(torch.tensor([[0.0, 3.0]]), torch.tensor([0])).item(), 4)  # z = 0: log(1 + e^{1 − (0 − .25)})
    1.5019
    """

    exact_gradient = False
    margin: float = Hyperparameter(0.4, low=0.0, high=0.6, minimum=0.0, maximum=3.1415, symbol="m")
    h: float = Hyperparameter(0.333, positive=True, symbol="h", description="concentration of the quality")
    scale: float = Hyperparameter(64.0, low=4.0, high=128.0, log=True, positive=True, symbol="s")
    momentum: float = Hyperparameter(0.99, minimum=0.0, maximum=1.0, unit="share that stays")

    mean_norm: Tensor
    norm_deviation: Tensor
    initialised: Tensor

    def setup(self, generator: torch.Generator | None) -> None:
        super().setup(generator)
        self.register_buffer("mean_norm", torch.tensor(20.0))
        self.register_buffer("norm_deviation", torch.tensor(100.0))
        self.register_buffer("initialised", torch.zeros((), dtype=torch.bool))

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        norms = torch.linalg.vector_norm(embeddings, dim=1, keepdim=True).detach().clamp(*NORMS)  # (B, 1)
        if self.training:
            self._update(norms)
        quality = (self.h * (norms - self.mean_norm) / (self.norm_deviation + EPSILON)).clamp(-1, 1)  # z, (B, 1)
        logits, mine = self.scaled_cosines(embeddings, labels, self.scale)  # (B, C), (B, 1)
        theta = (mine / self.scale).clamp(EPSILON - 1, 1 - EPSILON).acos()  # (B, 1)
        moved = (theta - self.margin * quality).clamp(EPSILON, math.pi - EPSILON)
        changed = moved.cos() - (self.margin + self.margin * quality)  # Kim et al. 2022, eq. 13 and 14
        return F.cross_entropy(logits.scatter(1, labels[:, None], self.scale * changed), labels)

    @torch.no_grad()
    def _update(self, norms: Tensor) -> None:
        keep = torch.where(self.initialised, self.momentum, 0.0)  # the first batch replaces the start
        blend(self, "mean_norm", norms.mean(), keep)
        blend(self, "norm_deviation", norms.std(correction=1 if len(norms) > 1 else 0), keep)
        self.initialised.fill_(True)
