"""A loss: its hyperparameters stand beside its formula."""

from __future__ import annotations

from torch import Tensor

from mlcompare import Hyperparameter, register_loss
from mlcompare.losses import MarginHead


@register_loss("zoo_loss", family="margin", reference="an example")
class ZooLoss(MarginHead):
    """The target's cosine less a margin that grows with its distance from 1: ``s·(cosθ − m(1 − cosθ)²)``."""

    margin: float = Hyperparameter(0.2, low=0.0, high=0.5, minimum=0.0, symbol="m", unit="cosine")

    def target_cosine(self, cosine: Tensor) -> Tensor:
        return cosine - self.margin * (1 - cosine) ** 2
