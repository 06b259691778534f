"""Anti-collapse: a term that spreads the embeddings over the sphere."""

from __future__ import annotations

import torch
from torch import Tensor

from mlcompare.geometry import FAR, cosine_similarities, negative_mask
from mlcompare.losses.base import Loss
from mlcompare.losses.citation import cite
from mlcompare.registry import Hyperparameter, Option, register_loss

__all__ = ["AntiCollapseTerm"]


@register_loss(
    "anti_collapse",
    family="metric",
    reference="Wang and Isola 2020, arXiv:2005.10242, eq. 8 (uniformity)",
    term=True,
    bibtex=cite(
        "wang2020understanding",
        "Wang, Tongzhou and Isola, Phillip",
        "Understanding Contrastive Representation Learning through Alignment and Uniformity on the Hypersphere",
        venue="International Conference on Machine Learning (ICML)",
        year=2020,
        arxiv="2005.10242",
    ),
)
class AntiCollapseTerm(Loss):
    """Anti-collapse (uniformity): ``λ·log mean e^{−t·‖x_i − x_j‖²}`` over all pairs i < j of the batch, for a sum.

    The embeddings ``(B, D)`` are normalised, so that ``‖x_i − x_j‖² = 2 − 2·cos θ``. The value is 0 where all of them
    are one point and falls as they spread over the sphere: it keeps embeddings from collapsing to a point or a few
    directions, and knows nothing of classes unless ``pairs`` is ``different``, where pairs of one class, which the loss
    beside it pulls together, are left out. It stands beside any other loss, ``{sum: [{loss: triplet}, {loss:
    anti_collapse}]}``. It is Wang and Isola's uniformity, not the coding rate of the loss that is called Anti-Collapse
    (arXiv:2407.03106), nor VICReg's variance and covariance. The formula and t = 2 are those of ``uniform_loss`` as the
    authors give it; λ and the ranges are a choice of this package's.

    >>> x, y = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), torch.tensor([0, 0, 1])
    >>> round(AntiCollapseTerm(weight=1.0, sharpness=1.0)(x, y).item(), 4)  # log((2·e^{−2} + e^{−4})/3)
    -2.34
    """

    group = "term"
    weight: float = Hyperparameter(0.1, low=1e-3, high=1.0, log=True, minimum=0.0, symbol="λ")
    sharpness: float = Hyperparameter(
        2.0, low=0.5, high=8.0, log=True, positive=True, symbol="t", description="how near pairs must be to count"
    )
    pairs: str = Option(
        "all", choices=("all", "different"), description="pairs that are pushed: all, or of two classes"
    )

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        cosine = cosine_similarities(embeddings, embeddings)  # (B, B)
        itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        pushed = negative_mask(labels) if self.pairs == "different" else ~itself  # (B, B): each pair twice
        exponents = torch.where(pushed, -self.sharpness * (2 - 2 * cosine), -FAR)
        count = pushed.sum().to(exponents.dtype)
        value = exponents.flatten().logsumexp(0) - count.clamp_min(1).log()
        return self.weight * torch.where(count > 0, value, 0.0)
