"""Encoders of features (and, flattened, of images)."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import nn

from mlcompare.encoders.base import checked_whole, register_encoder
from mlcompare.errors import InvalidValueError

__all__ = ["identity", "linear", "mlp"]


@register_encoder("identity", takes="any")
def identity(input_shape: tuple[int, ...], embedding_dim: int) -> nn.Module:
    """The input itself, flattened; ``embedding_dim`` must be its size."""
    size = math.prod(input_shape)
    if embedding_dim != size:
        rule = f"`embedding_dim` must be the input's size, {size}"
        raise InvalidValueError(rule, value=f"embedding_dim={embedding_dim}", place="identity")
    return nn.Flatten()


@register_encoder("linear", takes="any")
def linear(input_shape: tuple[int, ...], embedding_dim: int) -> nn.Module:
    """One linear layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), embedding_dim))


@register_encoder("mlp", takes="any")
def mlp(input_shape: tuple[int, ...], embedding_dim: int, width: int = 256, depth: int = 1) -> nn.Module:
    """``depth`` hidden layers of ``width`` units with ReLU, then a linear layer."""
    checked_whole("mlp", width=width, depth=depth)
    sizes = [math.prod(input_shape), *[width] * depth]
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], embedding_dim))
