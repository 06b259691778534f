"""Noise of losses that draw one number for each sample."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["one_for_each_sample"]


def one_for_each_sample(
    batch_size: int, generator: torch.Generator | None, device: torch.device | str | None
) -> Tensor:
    """Return noise ``(B, B)`` in [0, 1) whose rows are alike: one number for each sample, in the memory of one row."""
    where = generator.device if generator is not None else device
    row = torch.rand(1, batch_size, generator=generator, device=where).to(device or where)  # (1, B)
    return row.expand(batch_size, batch_size)
