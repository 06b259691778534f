"""ArcFace with dynamic margins: rare classes get larger ones."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mlcompare.losses.angular import monotone_angle
from mlcompare.losses.citation import cite
from mlcompare.losses.counts import register_counts
from mlcompare.losses.head import MarginHead
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["DynamicArcFace"]


@register_loss(
    "dynamic_arcface",
    family="margin",
    reference="Ha et al. 2020, arXiv:2010.05350",
    bibtex=cite(
        "ha2020google",
        "Ha, Qishen and Liu, Bo and Liu, Fuxu and Liao, Peiyuan",
        "Google Landmark Recognition 2020 Competition Third Place Solution",
        year=2020,
        arxiv="2010.05350",
    ),
)
class DynamicArcFace(MarginHead):
    """ArcFace with dynamic margins: ArcFace with a margin for each class, ``m_c = a·n_c^{−λ} + b``, in radians.

    n_c is the number of training samples of class c (``class_counts``; without them every class has a + b): the fewer,
    the larger. Past θ = π − m_c the target is ArcFace's fallback. The authors put three sub-centers under it
    (:class:`~mlcompare.losses.subcenter_arcface.SubcenterArcFace`); here a class has one. It is not
    :class:`~mlcompare.losses.ldam.LDAM`, whose margins are on the cosine and fall with ``n^{−¼}`` alone. Embeddings
    ``(B, D)`` and class weights ``(C, D)`` are normalised.

    Value and gradient were compared with models.py of the authors' repository
    (haqishen/Google-Landmark-Recognition-2020-3rd-Place-Solution) at the same margins. Its train.py stretches
    ``n^{−¼}`` to go from 0 for the most frequent class to 1 for the rarest, with a = .45, b = .05 and s = 80; the
    formula here, with a = .5 and b = .05, is the paper's as it is quoted, not checked against it. Ranges are a choice
    of this package's.

    >>> loss = DynamicArcFace(num_classes=2, embedding_dim=2, class_counts=[16, 1], a=0.8, b=0.1, scale=1.0)
    >>> _ = loss.class_weights.data.copy_(torch.eye(2))
    >>> round(loss(torch.tensor([[3.0, 0.0]]), torch.tensor([0])).item(), 4)  # m_0 = .8/2 + .1: log(1 + e^{−cos .5})
    0.3477
    """

    group = "long_tail"
    class_rows = ("class_weights", "counts")
    a: float = Hyperparameter(0.5, low=0.0, high=1.0, minimum=0.0, maximum=3.0, symbol="a", unit="rad")
    b: float = Hyperparameter(0.05, low=0.0, high=0.3, minimum=0.0, maximum=3.0, symbol="b", unit="rad")
    decay: float = Hyperparameter(0.25, low=0.0, high=1.0, minimum=0.0, symbol="λ", description="how fast margins fall")
    scale: float = Hyperparameter(64.0, low=4.0, high=128.0, log=True, positive=True, symbol="s")

    counts: Tensor

    def setup(self, generator: torch.Generator | None) -> None:
        super().setup(generator)
        register_counts(self, self.num_classes)

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        logits, mine = self.scaled_cosines(embeddings, labels, self.scale)  # (B, C), (B, 1)
        margins = self.a * self.counts**-self.decay + self.b  # (C,)
        changed = self.scale * monotone_angle(mine / self.scale, margins[labels][:, None])  # (B, 1)
        return F.cross_entropy(logits.scatter(1, labels[:, None], changed.to(logits.dtype)), labels)
