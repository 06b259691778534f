"""Training samples of each class, for losses that treat rare classes otherwise than frequent ones."""

from __future__ import annotations

import torch
from torch import Tensor

from mlcompare.geometry import Number, scalar
from mlcompare.losses.base import Loss

__all__ = ["effective_weights", "register_counts"]


def register_counts(loss: Loss, num_classes: int) -> None:
    """Give ``loss`` the buffer ``counts (C,)``: its ``class_counts``, each 1 or more; all 1 where it has none.

    It has a row for each class, so the loss's ``class_rows`` must name it.
    """
    counts = torch.ones(num_classes) if loss.class_counts is None else loss.class_counts.float().clamp_min(1)
    loss.register_buffer("counts", counts)  # (C,)


def effective_weights(counts: Tensor, beta: Number) -> Tensor:
    """Return ``(1 − β)/(1 − β^n)`` of each class's n, ``(C,)``, scaled to a mean of 1 (Cui et al. 2019).

    >>> effective_weights(torch.tensor([1.0, 1.0, 2.0]), 0.5)  # 1, 1 and ½/¾, over their mean
    tensor([1.1250, 1.1250, 0.7500])
    """
    weights = 1 / -torch.expm1(counts * scalar(beta).log())  # (C,); 1 − β is the same for all
    return weights / weights.mean()
