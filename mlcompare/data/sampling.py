"""Which samples make a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from mlcompare.errors import DataError, InvalidValueError

__all__ = ["pk_batches"]


def pk_batches(
    labels: Tensor, *, classes_per_batch: int, samples_per_class: int, steps: int, generator: torch.Generator
) -> Tensor:
    """Draw P×K batches: ``classes_per_batch`` classes without replacement, ``samples_per_class`` samples of each.

    A class with fewer samples than asked gives each of them equally often, as evenly as can be, so that a batch always
    has P·K rows.

    Args:
        labels: ``(N,)`` int64, counted from 0 without gaps.

    Returns:
        ``(steps, P·K)`` row numbers, on the device of ``labels``.

    Raises:
        DataError: there are fewer classes than ``classes_per_batch``.
        InvalidValueError: a count is below 1.

    >>> batches = pk_batches(torch.tensor([0, 0, 1, 1, 2, 2]), classes_per_batch=2, samples_per_class=2, steps=3,
    ...                      generator=torch.Generator().manual_seed(0))
    >>> batches.shape
    torch.Size([3, 4])
    """
    if min(classes_per_batch, samples_per_class, steps) < 1:
        got = f"P={classes_per_batch}, K={samples_per_class}, steps={steps}"
        raise InvalidValueError("P, K and steps must be 1 or more", value=got)
    counts = torch.bincount(labels)  # (C,)
    if len(counts) < classes_per_batch:
        cure = "lower training.classes_per_batch"
        raise DataError(f"a batch needs {classes_per_batch} classes", value=f"{len(counts)} classes", cure=cure)
    order = torch.argsort(labels, stable=True)  # rows grouped by class
    starts = counts.cumsum(0) - counts
    device = generator.device
    counts, starts, order = counts.to(device), starts.to(device), order.to(device)
    drawn = []
    for first in range(0, steps, 512):  # bounded memory however long the training
        chunk = min(512, steps - first)
        ranks = torch.rand(chunk, len(counts), generator=generator, device=device).argsort(1)
        classes = ranks[:, :classes_per_batch]  # (S, P)
        size = counts[classes][..., None]  # (S, P, 1)
        keys = torch.rand(chunk, classes_per_batch, int(counts.max()), generator=generator, device=device)
        keys = keys.masked_fill(torch.arange(keys.shape[-1], device=device) >= size, 2.0)  # absent samples go last
        shuffled = keys.argsort(-1)  # (S, P, largest class)
        turns = torch.arange(samples_per_class, device=device) % size  # (S, P, K): wraps around small classes
        rows = starts[classes][..., None] + shuffled.gather(-1, turns)
        drawn.append(order[rows].flatten(1))
    return torch.cat(drawn).to(labels.device)
