"""Running statistics that losses keep as buffers, as batch norm does."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["blend", "register_moments", "update_moments"]


@torch.no_grad()
def blend(state: Tensor, value: Tensor, momentum: Tensor | float) -> None:
    """Move ``state`` in place: ``state ← momentum·state + (1 − momentum)·value``."""
    state.copy_(momentum * state + (1 - momentum) * value.to(state.dtype))


def register_moments(module: nn.Module, dim: int) -> None:
    """Give ``module`` the buffers ``mean`` (zeros) and ``variance`` (ones), each ``(D,)``."""
    module.register_buffer("mean", torch.zeros(dim))
    module.register_buffer("variance", torch.ones(dim))


def update_moments(module: nn.Module, embeddings: Tensor, momentum: Tensor | float) -> None:
    """Blend the batch's mean and (biased) variance of ``embeddings (B, D)`` into the buffers."""
    embeddings = embeddings.detach()
    blend(module.mean, embeddings.mean(0), momentum)
    blend(module.variance, embeddings.var(0, correction=0), momentum)
