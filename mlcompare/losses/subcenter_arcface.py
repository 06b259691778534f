"""Sub-center ArcFace: several centers for each class."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mlcompare.geometry import Number, normalize
from mlcompare.losses.arcface import ArcFace
from mlcompare.losses.citation import cite
from mlcompare.losses.projection import project
from mlcompare.registry import Option, register_loss

__all__ = ["SubcenterArcFace"]


@register_loss(
    "subcenter_arcface",
    family="margin",
    reference="Deng et al. 2020, Sub-center ArcFace: Boosting Face Recognition by Large-Scale Noisy Web Faces, ECCV",
    bibtex=cite(
        "deng2020subcenter",
        "Deng, Jiankang and Guo, Jia and Liu, Tongliang and Gong, Mingming and Zafeiriou, Stefanos",
        "Sub-center ArcFace: Boosting Face Recognition by Large-Scale Noisy Web Faces",
        venue="European Conference on Computer Vision (ECCV)",
        year=2020,
    ),
)
class SubcenterArcFace(ArcFace):
    """Sub-center ArcFace: ``cos θ_j = max_k cos θ_jk`` over K sub-centers of each class, then ArcFace.

    A class may spread over several centers, so that noisy samples gather around one of their own. Class weights are
    ``(C, K, D)``; K = 1 is ArcFace. Margin and scale are ArcFace's, m in radians.

    >>> loss = SubcenterArcFace(num_classes=2, embedding_dim=2, subcenters=2, margin=0.0, scale=1.0)
    >>> _ = loss.class_weights.data.copy_(torch.tensor([[[1.0, 0.0], [-1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]]))
    >>> round(loss(torch.tensor([[-3.0, 0.0]]), torch.tensor([0])).item(), 4)  # log(1 + e^{−1})
    0.3133
    """

    fixed = ("subcenters",)
    subcenters: int = Option(3, symbol="K", description="centers for each class")

    def setup(self, generator: torch.Generator | None) -> None:
        weights = torch.randn(self.num_classes, self.subcenters, self.embedding_dim, generator=generator)
        self.class_weights = nn.Parameter(weights / self.embedding_dim**0.5)  # (C, K, D)

    def cosines(self, embeddings: Tensor, scale: Number = 1.0) -> Tensor:
        weights = self.class_weights.to(embeddings.dtype).flatten(0, 1)  # (C·K, D)
        rows = scale * normalize(embeddings)  # (B, D)
        every, _ = project(rows, weights, torch.zeros_like(rows[:, 0], dtype=torch.long))  # (B, C·K)
        return every.unflatten(1, (self.num_classes, self.subcenters)).max(2).values  # (B, C)

    def scaled_cosines(self, embeddings: Tensor, labels: Tensor, scale: Number) -> tuple[Tensor, Tensor]:
        logits = self.cosines(embeddings, scale)  # (B, C)
        return logits, logits.gather(1, labels[:, None])
