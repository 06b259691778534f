"""VPL: class weights meet the class's newest sample half-way."""

from __future__ import annotations

import torch
from torch import Tensor

from mlcompare.geometry import Number, normalize
from mlcompare.losses.arcface import ArcFace
from mlcompare.losses.citation import cite
from mlcompare.losses.memory import newest
from mlcompare.losses.projection import project
from mlcompare.losses.running import write
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["VPL"]

NEVER = -1e9  # a step long ago


@register_loss(
    "vpl",
    family="margin",
    reference="Deng et al. 2021, Variational Prototype Learning for Deep Face Recognition, CVPR",
    bibtex=cite(
        "deng2021variational",
        "Deng, Jiankang and Guo, Jia and Yang, Jing and Lattas, Alexandros and Zafeiriou, Stefanos",
        "Variational Prototype Learning for Deep Face Recognition",
        venue="Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
        year=2021,
    ),
)
class VPL(ArcFace):
    """VPL (variational prototype learning): ArcFace against ``(1 − λ)·w_j + λ·f_j``, f_j the class's newest sample.

    w_j and f_j have length 1, and their mixture is normalised again. f_j is the last embedding of class j in a
    train-mode batch and carries no gradient; it takes part for ``window`` steps after that batch, and only from the
    share ``start`` of the training on, when embeddings no longer drift fast. So a sample is compared with classes'
    weights and with other samples at once. λ = 0, and any class without a fresh sample, is ArcFace. Margin and scale
    are ArcFace's, m in radians. A prediction ranks by the class weights alone. Embeddings ``(B, D)``, class weights
    ``(C, D)`` and memory ``(C, D)``.

    Value and gradient were compared, over several steps, with recognition/vpl/vpl.py of deepinsight/insightface, its
    parts for many devices taken out; λ = .15, a window of 200 and a start at step 8000 of some 126 000 are its
    example's, with no momentum encoder. Ranges are a choice of this package's.

    >>> import torch
    >>> loss = VPL(num_classes=2, embedding_dim=2, margin=0.0, scale=1.0, share=0.5)
    >>> _ = loss.class_weights.data.copy_(torch.eye(2))
    >>> x, y = torch.tensor([[0.0, 2.0]]), torch.tensor([0])
    >>> [round(loss(x, y).item(), 4) for _ in range(2)]  # log(1 + e^{1 − 0}), then log(1 + e^{1 − √½})
    [1.3133, 0.8503]
    """

    class_rows = ("class_weights", "memory", "stamp")
    share: float = Hyperparameter(
        0.15, low=0.0, high=0.5, minimum=0.0, maximum=1.0, symbol="λ", description="of the newest sample"
    )
    window: float = Hyperparameter(
        200, integer=True, minimum=1, symbol="Δ", unit="steps", description="how long a sample stays fresh"
    )
    start: float = Hyperparameter(0.06, minimum=0.0, maximum=1.0, unit="share of the training")

    memory: Tensor
    stamp: Tensor
    steps: Tensor

    def setup(self, generator: torch.Generator | None) -> None:
        super().setup(generator)
        self.register_buffer("memory", torch.zeros(self.num_classes, self.embedding_dim))  # f, (C, D)
        self.register_buffer("stamp", torch.full((self.num_classes,), NEVER))  # (C,): the step of each
        self.register_buffer("steps", torch.zeros(()))

    def scaled_cosines(self, embeddings: Tensor, labels: Tensor, scale: Number) -> tuple[Tensor, Tensor]:
        fresh = (self.steps - self.stamp <= self.window) & (self.progress >= self.start)  # (C,)
        share = torch.where(fresh, self.share, 0.0).to(embeddings.dtype)[:, None]  # (C, 1)
        own = normalize(self.class_weights.to(embeddings.dtype))  # (C, D)
        mixed = (1 - share) * own + share * self.memory.to(embeddings.dtype, copy=True)  # (C, D)
        return project(scale * normalize(embeddings), mixed, labels)

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        value = super().compute(embeddings, labels, noise)
        if self.training:
            self._remember(embeddings.detach(), labels)
        return value

    @torch.no_grad()
    def _remember(self, embeddings: Tensor, labels: Tensor) -> None:
        place, present = newest(labels, self.num_classes)  # (C,), (C,)
        rows = normalize(embeddings).index_select(0, place).to(self.memory.dtype)  # (C, D)
        write(self, "memory", torch.where(present[:, None], rows, self.memory))
        write(self, "stamp", torch.where(present, self.steps, self.stamp))
        write(self, "steps", self.steps + 1)
