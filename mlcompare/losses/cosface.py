"""CosFace: an additive margin on the cosine."""

from __future__ import annotations

from torch import Tensor

from mlcompare.losses.head import MarginHead
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["CosFace"]


@register_loss(
    "cosface",
    family="margin",
    reference="Wang et al. 2018, arXiv:1801.09414",
    aliases=("am_softmax",),
)
class CosFace(MarginHead):
    """CosFace (large-margin cosine loss), the same as AM-Softmax."""

    margin: float = Hyperparameter(0.35, low=0.0, high=0.6, minimum=0.0, symbol="m", unit="cosine")

    def target_cosine(self, cosine: Tensor) -> Tensor:
        return cosine - self.margin
