"""Gradients of a bounded norm: of one training, and of each member of a population."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

__all__ = ["clip", "clipped"]

FLOOR = 1e-6  # torch.nn.utils.clip_grad_norm_'s


def clip(parameters: Iterable[Tensor], most: float, squares_elsewhere: Tensor | None = None) -> None:
    """Scale the gradients of all parameters together so that their norm is ``most`` at most.

    ``squares_elsewhere`` is the sum of the squares of gradients that belong to them and are in other processes.
    """
    every = list(parameters)
    if squares_elsewhere is None:
        torch.nn.utils.clip_grad_norm_(every, most)
        return
    here = torch.nn.utils.get_total_norm([p.grad for p in every if p.grad is not None])
    torch.nn.utils.clip_grads_with_norm_(every, most, (here**2 + squares_elsewhere).sqrt())


def clipped(gradients: Sequence[Tensor | None], most: float) -> list[Tensor | None]:
    """Return what :func:`clip` makes of each member's gradients ``(M, …)``.

    >>> clipped([torch.tensor([[3.0], [0.3]]), torch.tensor([[4.0], [0.4]])], 1.0)
    [tensor([[0.6000],
            [0.3000]]), tensor([[0.8000],
            [0.4000]])]
    """
    norms = [torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients if g is not None]  # each (M,)
    if not norms:
        return list(gradients)
    norm = torch.linalg.vector_norm(torch.stack(norms), dim=0)  # (M,)
    factor = (most / (norm + FLOOR)).clamp(max=1.0)
    return [None if g is None else g * factor.view(-1, *[1] * (g.ndim - 1)) for g in gradients]
