"""SphereFace2: face recognition as C binary classifications."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mlcompare.geometry import scalar
from mlcompare.losses.citation import cite
from mlcompare.losses.head import Head
from mlcompare.registry import Hyperparameter, Option, register_loss

__all__ = ["SphereFace2"]


@register_loss(
    "sphereface2",
    family="margin",
    reference="Wen et al. 2022, arXiv:2108.01513",
    bibtex=cite(
        "wen2022sphereface2",
        "Wen, Yandong and Liu, Weiyang and Weller, Adrian and Raj, Bhiksha and Singh, Rita",
        "SphereFace2: Binary Classification is All You Need for Deep Face Recognition",
        venue="International Conference on Learning Representations (ICLR)",
        year=2022,
        arxiv="2108.01513",
    ),
)
class SphereFace2(Head):
    """SphereFace2: ``α·log(1 + e^{−a_y}) + (1−α)·Σ_{j≠y} log(1 + e^{a_j})``, a binary problem for each class.

    ``a_j = r·(g(cos θ_j) − m·(2·1[j=y] − 1)) + b`` with ``g(z) = 2((z+1)/2)^t − 1``, which widens the range that
    similarities use. The bias b (one for all classes, learned) starts where positives and negatives pull equally hard
    at cos θ = 0. There is no softmax: classes don't compete.

    ``gradient="detached"`` is the official code's: the value is that of a_j, and the gradient goes through cos θ alone,
    as if g had slope 1, so that samples far from their class are pulled back. ``exact`` differentiates g, whose slope
    ``t((z+1)/2)^{t−1}`` vanishes there: at θ_y = 150° with the defaults dL/dθ is 14.0 detached and .19 exact.

    Value and gradient were compared with opensphere (ydwen/opensphere, SphereFace2-C), which multiplies the loss by
    lw/r = 50/40 as well: a factor that only rescales the learning rate, left out here. The sum runs over the classes,
    the mean over the batch.

    >>> loss = SphereFace2(num_classes=2, embedding_dim=2, margin=0.0, scale=1.0, alpha=0.5, t=1.0)
    >>> _ = loss.class_weights.data.copy_(torch.eye(2))
    >>> round(loss(torch.tensor([[1.0, 0.0]]), torch.tensor([0])).item(), 4)  # ½·log(1 + e^{−1}) + ½·log 2
    0.5032
    """

    group = "margin"
    margin: float = Hyperparameter(0.4, low=0.0, high=0.6, minimum=0.0, symbol="m", unit="similarity")
    scale: float = Hyperparameter(40.0, low=10.0, high=60.0, log=True, positive=True, symbol="s", description="r")
    alpha: float = Hyperparameter(
        0.7, low=0.5, high=0.95, minimum=0.01, maximum=0.99, symbol="α", description="weight of positives"
    )
    t: float = Hyperparameter(3.0, minimum=1.0, symbol="t", description="exponent that stretches similarities")
    gradient: str = Option("detached", choices=("detached", "exact"), description="through cos θ alone, or through g")

    @property
    def exact_gradient(self) -> bool:  # type: ignore[override]  # a fact of every other class; here an option's
        return self.gradient == "exact"

    def setup(self, generator: torch.Generator | None) -> None:
        super().setup(generator)
        self.bias = nn.Parameter(torch.tensor(self._balanced_bias(), dtype=torch.float32))

    def _balanced_bias(self) -> float:
        """Return b at which α·σ(−a_y) = (1−α)(C−1)·σ(a_j) where every cosine is 0."""
        r, m, alpha = float(self.scale), float(self.margin), float(self.alpha)
        ratio = alpha / ((1 - alpha) * max(self.num_classes - 1, 1))
        zero = 2 * 0.5 ** float(self.t) - 1  # g(0)
        own, other = r * (zero - m), r * (zero + m)
        root = math.sqrt((1 - ratio) ** 2 + 4 * ratio * math.exp(own - other))  # a quadratic in e^b
        if ratio < 1:
            return math.log(2 * ratio) - other - math.log(1 - ratio + root)
        return math.log((ratio - 1 + root) / 2) - own

    def each(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        cosine = self.cosines(embeddings)  # (B, C)
        stretched = 2 * (0.5 * (cosine + 1)).clamp_min(1e-6) ** self.t - 1  # g(cos θ)
        if self.gradient == "detached":
            stretched = cosine + (stretched - cosine).detach()
        own = torch.arange(self.num_classes, device=labels.device) == labels[:, None]  # (B, C)
        sign = torch.where(own, -1.0, 1.0).to(cosine.dtype)
        logits = self.scale * (stretched + self.margin * sign) + self.bias.to(cosine.dtype)
        alpha = scalar(self.alpha).to(cosine.dtype)
        weight = torch.where(own, alpha, 1 - alpha)  # (B, C)
        return (weight * F.softplus(sign * logits, threshold=50.0)).sum(1)
