"""Sub-center ArcFace: several centers for each class."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mlcompare.geometry import Number, masked_mean, normalize, scalar
from mlcompare.losses.arcface import ArcFace
from mlcompare.losses.citation import cite
from mlcompare.losses.projection import project
from mlcompare.losses.running import write
from mlcompare.registry import Hyperparameter, Option, register_loss

__all__ = ["SubcenterArcFace", "SubcenterArcFaceDrop"]

REFERENCE = "Deng et al. 2020, Sub-center ArcFace: Boosting Face Recognition by Large-Scale Noisy Web Faces, ECCV"
BIBTEX = cite(
    "deng2020subcenter",
    "Deng, Jiankang and Guo, Jia and Liu, Tongliang and Gong, Mingming and Zafeiriou, Stefanos",
    "Sub-center ArcFace: Boosting Face Recognition by Large-Scale Noisy Web Faces",
    venue="European Conference on Computer Vision (ECCV)",
    year=2020,
)
KEPT = 0.99  # of the counts, from step to step


@register_loss("subcenter_arcface", family="margin", reference=REFERENCE, bibtex=BIBTEX)
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


@register_loss("subcenter_arcface_drop", family="margin", reference=REFERENCE, bibtex=BIBTEX)
class SubcenterArcFaceDrop(SubcenterArcFace):
    """Sub-center ArcFace that drops samples far from the center that most of their class chose.

    Each step counts which of the K sub-centers every sample of the batch is nearest to; older counts fade, by .99 a
    step. The sub-center of a class with the largest count is its dominant one. From the share ``start`` of the training
    on, a sample whose angle to the dominant sub-center of its label is ``angle`` or more (75°, in radians) is left out
    of the mean: it gathered around another center, so that its label may be wrong. A hard sample is dropped like a
    wrong one. Until then it is :class:`SubcenterArcFace`, as it is with an angle of π.

    The paper drops once, after a training with K = 3, and trains a new network on the rest with K = 1; this drops in
    one training, batch by batch, and may take a sample back. The rule was compared with recognition/subcenter_arcface/
    drop.py of deepinsight/insightface, whose angle and K these are; ``start`` and the range are a choice of this
    package's.

    >>> loss = SubcenterArcFaceDrop(num_classes=2, embedding_dim=2, subcenters=2, margin=0.0, scale=1.0)
    >>> _ = loss.class_weights.data.copy_(torch.tensor([[[1.0, 0.0], [-1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]]))
    >>> x, y = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]), torch.tensor([0, 0, 0])
    >>> [round(loss(x, y).item(), 4), loss.assigned[0].tolist()]  # the third is opposite the first center
    [0.3133, [2.0, 1.0]]
    """

    group = "noise"
    class_rows = ("class_weights", "assigned")
    angle: float = Hyperparameter(
        1.309,
        low=0.8,
        high=1.5,
        minimum=0.0,
        maximum=3.1416,
        unit="rad",
        description="from which on samples are dropped",
    )
    start: float = Hyperparameter(0.5, minimum=0.0, maximum=1.0, unit="share of the training")

    assigned: Tensor

    def setup(self, generator: torch.Generator | None) -> None:
        super().setup(generator)
        self.register_buffer("assigned", torch.zeros(self.num_classes, self.subcenters))  # (C, K)

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        nearness = self._to_own_centers(embeddings.detach(), labels)  # (B, K)
        dominant = self.assigned.index_select(0, labels).argmax(1, keepdim=True)  # (B, 1)
        near = nearness.gather(1, dominant).squeeze(1) > torch.cos(scalar(self.angle))  # (B,)
        value = masked_mean(self.each(embeddings, labels), near | (self.progress < self.start))
        if self.training:
            self._count(nearness.argmax(1), labels)
        return value

    def _to_own_centers(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the cosines to the sub-centers of the sample's class, ``(B, K)``."""
        own = self.class_weights.detach().to(embeddings.dtype).index_select(0, labels)  # (B, K, D)
        return (normalize(own) @ normalize(embeddings)[:, :, None]).squeeze(2)

    @torch.no_grad()
    def _count(self, nearest: Tensor, labels: Tensor) -> None:
        places = labels * self.subcenters + nearest  # (B,), of C·K
        seen = torch.zeros_like(self.assigned).flatten().index_add(0, places, torch.ones_like(places).to(self.assigned))
        write(self, "assigned", KEPT * self.assigned + seen.view_as(self.assigned))
