"""SoftTriple loss: several centers for each class, pooled softly."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mlcompare.geometry import Number, normalize, scalar
from mlcompare.losses.citation import cite, reality_check
from mlcompare.losses.head import CosineHead
from mlcompare.losses.projection import project
from mlcompare.registry import Hyperparameter, Option, register_loss

__all__ = ["SoftTriple"]


@register_loss(
    "soft_triple",
    family="metric",
    reference="Qian et al. 2019, arXiv:1909.05235",
    published=(
        reality_check(scale=78.0, gamma=59.0, margin=0.43),
        reality_check(scale=17.7, gamma=19.2, margin=0.36),
        reality_check(scale=100.0, gamma=47.9, margin=0.31),
        reality_check(scale=72.0, gamma=51.0, margin=0.70),
    ),
    bibtex=cite(
        "qian2019softtriple",
        "Qian, Qi and Shang, Lei and Sun, Baigui and Hu, Juhua and Li, Hao and Jin, Rong",
        "SoftTriple Loss: Deep Metric Learning Without Triplet Sampling",
        venue="Proceedings of the IEEE/CVF International Conference on Computer Vision (ICCV)",
        year=2019,
        arxiv="1909.05235",
    ),
)
class SoftTriple(CosineHead):
    """SoftTriple: ``CE`` over ``λ(S_y − δ)`` and ``λ·S_j`` with ``S_j = Σ_k softmax_k(cos θ_jk / γ)·cos θ_jk``.

    Each class has K centers (``class_weights (C, K, D)``, normalised), pooled softly by γ; embeddings ``(B, D)`` are
    normalised. ``scale`` is the paper's λ. With K = 1 it is CosFace. The regulariser that merges centers is left out:
    without it value and gradient are those of the authors' code (idstcv/SoftTriple), whose γ has this unit. So has the
    argument of pytorch-metric-learning, which keeps 1/γ inside: Musgrave et al.'s (2020) optima, γ from 19 to 59, pool
    by a plain mean in effect. Their version of the loss had the regulariser, at .2 by default.

    >>> loss = SoftTriple(num_classes=2, embedding_dim=2, centers=1, scale=1.0, margin=0.0)
    >>> _ = loss.class_weights.data.copy_(torch.eye(2)[:, None])
    >>> round(loss(torch.tensor([[3.0, 0.0]]), torch.tensor([0])).item(), 4)  # log(1 + e^{−1})
    0.3133
    """

    group = "proxy"
    scale: float = Hyperparameter(20.0, low=5.0, high=100.0, log=True, positive=True, symbol="s", description="λ")
    gamma: float = Hyperparameter(
        0.1, low=0.01, high=60.0, log=True, positive=True, symbol="γ", description="temperature; published up to 59"
    )
    margin: float = Hyperparameter(
        0.01, low=0.0, high=0.7, minimum=0.0, symbol="m", unit="cosine", description="δ; up to .7 published"
    )
    fixed = ("centers",)
    centers: int = Option(10, symbol="K", description="centers for each class")

    def setup(self, generator: torch.Generator | None) -> None:
        weights = torch.randn(self.num_classes, self.centers, self.embedding_dim, generator=generator)
        self.class_weights = nn.Parameter(weights / self.embedding_dim**0.5)  # (C, K, D)

    def current_scale(self) -> Tensor:
        return scalar(self.scale)

    def cosines(self, embeddings: Tensor, scale: Number = 1.0) -> Tensor:
        weights = self.class_weights.to(embeddings.dtype).flatten(0, 1)  # (C·K, D)
        rows = normalize(embeddings)  # (B, D)
        every, _ = project(rows, weights, torch.zeros_like(rows[:, 0], dtype=torch.long))  # (B, C·K)
        every = every.unflatten(1, (self.num_classes, self.centers))  # (B, C, K)
        return scale * ((every / self.gamma).softmax(2) * every).sum(2)  # (B, C): S_j

    def scaled_cosines(self, embeddings: Tensor, labels: Tensor, scale: Number) -> tuple[Tensor, Tensor]:
        logits = self.cosines(embeddings, scale)  # (B, C)
        return logits, logits.gather(1, labels[:, None])

    def target_cosine(self, cosine: Tensor) -> Tensor:
        return cosine - self.margin
