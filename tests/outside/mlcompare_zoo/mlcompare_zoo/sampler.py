"""A sampler: row numbers of every batch, drawn from the generator it is given."""

from __future__ import annotations

import torch
from torch import Tensor

from mlcompare import register_sampler


@register_sampler("zoo_sampler")
def zoo_sampler(
    labels: Tensor, *, classes_per_batch: int, samples_per_class: int, steps: int, generator: torch.Generator
) -> Tensor:
    """Rows with replacement, whatever their classes."""
    return torch.randint(len(labels), (steps, classes_per_batch * samples_per_class), generator=generator)
