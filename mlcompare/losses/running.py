"""Running statistics that losses keep as buffers, as batch norm does."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["blend", "register_moments", "update_moments", "write"]


@torch.no_grad()
def write(module: nn.Module, name: str, value: Tensor) -> None:
    """Put ``value`` into the buffer ``name``: in place, as a population (``functional_call`` under ``vmap``) needs it.

    Compiled code loses in-place writes to a 0-dim float64 buffer on a CPU, without a word; there the buffer is replaced
    instead. Keep such state in float32, as the losses do, and it is written in place everywhere.
    """
    state = getattr(module, name)
    value = value.to(state.dtype)
    if torch.compiler.is_compiling() and state.ndim == 0 and state.dtype == torch.float64:
        setattr(module, name, value)
    else:
        state.copy_(value)


@torch.no_grad()
def blend(module: nn.Module, name: str, value: Tensor, momentum: Tensor | float) -> None:
    """Move the buffer ``name``: ``state ← momentum·state + (1 − momentum)·value``."""
    state = getattr(module, name)
    write(module, name, momentum * state + (1 - momentum) * value.to(state.dtype))


def register_moments(module: nn.Module, dim: int) -> None:
    """Give ``module`` the buffers ``mean`` (zeros) and ``variance`` (ones), each ``(D,)``."""
    module.register_buffer("mean", torch.zeros(dim))
    module.register_buffer("variance", torch.ones(dim))


def update_moments(module: nn.Module, embeddings: Tensor, momentum: Tensor | float) -> None:
    """Blend the batch's mean and (biased) variance of ``embeddings (B, D)`` into the buffers."""
    embeddings = embeddings.detach()
    blend(module, "mean", embeddings.mean(0), momentum)
    blend(module, "variance", embeddings.var(0, correction=0), momentum)
