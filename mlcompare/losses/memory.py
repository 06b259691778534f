"""Memories with a row for each class: what a loss keeps of the samples it saw last."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["newest"]


def newest(labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Return each class's last place in ``labels (B,)`` and whether it has one, each ``(C,)``; 0 where it has none.

    >>> newest(torch.tensor([1, 1, 2]), 3)
    (tensor([0, 1, 2]), tensor([False,  True,  True]))
    """
    places = torch.arange(1, labels.shape[0] + 1, device=labels.device)  # (B,)
    found = places.new_zeros(num_classes).scatter_reduce(0, labels, places, "amax")  # (C,)
    return (found - 1).clamp_min(0), found > 0
