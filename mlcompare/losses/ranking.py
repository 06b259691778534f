"""Soft ranks: how far down a sample stands in an anchor's list, as a number with a gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from mlcompare.geometry import positive_mask

__all__ = ["QUERY", "gaps", "listed", "soft_ranks"]

QUERY = ("left_out", "counted")


def listed(labels: Tensor, query: str) -> tuple[Tensor, Tensor]:
    """Return what an anchor's list holds, and which of it is relevant, each ``(B, B)``: row a is anchor a's.

    ``query="counted"`` keeps the anchor itself in its own list, as a relevant sample.
    """
    itself = torch.eye(labels.shape[0], dtype=torch.bool, device=labels.device)
    if query == "counted":
        return torch.ones_like(itself), positive_mask(labels) | itself
    return ~itself, positive_mask(labels)


def gaps(scores: Tensor) -> Tensor:
    """Return ``s_aj − s_ap`` of ``scores (B, B)`` at [a, p, j], ``(B, B, B)``: how far j stands before p."""
    return scores[:, None, :] - scores[:, :, None]


def soft_ranks(before: Tensor, candidates: Tensor) -> Tensor:
    """Return the rank of each p among the ``candidates (B, B)`` of anchor a, ``(B, B)``; meaningful where p is one.

    ``before (B, B, B)`` says at [a, p, j] how far j counts as standing before p: .5 for p itself, which is taken back.

    >>> scores = torch.tensor([[0.9, 0.5, 0.1]]).expand(3, 3)
    >>> soft_ranks(torch.sigmoid(gaps(scores) / 0.01), torch.ones(3, 3, dtype=torch.bool))[0]
    tensor([1., 2., 3.])
    """
    return 0.5 + (before @ candidates[:, :, None].to(before.dtype)).squeeze(2)
