"""Pooling over places: feature maps of any size → one vector of a fixed size."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["POOLINGS", "GeneralizedMean", "SpatialPyramid"]


class GeneralizedMean(nn.Module):
    """GeM: ``(mean_{hw} max(x, ε)^p)^{1/p}`` with a learned p (Radenović et al. 2019, arXiv:1711.02512).

    p = 1 is the mean, p → ∞ the maximum. ``(B, C, H, W) → (B, C)``.

    >>> GeneralizedMean(p=1.0)(torch.full((1, 2, 3, 3), 4.0)).tolist()
    [[4.0, 4.0]]
    """

    def __init__(self, p: float = 3.0, epsilon: float = 1e-6) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor([p]))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        p = self.p.clamp_min(1.0)
        return x.clamp_min(self.epsilon).pow(p).mean((2, 3)).pow(1 / p)


class SpatialPyramid(nn.Module):
    """Spatial pyramid: maxima over 1×1, 2×2 and 4×4 parts, ``(B, C, H, W) → (B, 21·C)`` (He et al. 2014, 1406.4729).

    >>> SpatialPyramid()(torch.zeros(2, 3, 5, 7)).shape
    torch.Size([2, 63])
    """

    levels = (1, 2, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([_parts(x, level).flatten(1) for level in self.levels], 1)


def _parts(x: Tensor, level: int) -> Tensor:
    """Maxima over ``level`` × ``level`` parts that cover ``x`` and overlap by a pixel where it doesn't divide."""
    columns = [_span(x.shape[3], level, i) for i in range(level)]
    rows = [_span(x.shape[2], level, i) for i in range(level)]
    return torch.stack([x[:, :, row, column].amax((2, 3)) for row in rows for column in columns], 2)


def _span(size: int, parts: int, number: int) -> slice:
    return slice(number * size // parts, -(-(number + 1) * size // parts))


class _Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class _Max(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.amax((2, 3))


POOLINGS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "avg": (_Mean, 1),
    "max": (_Max, 1),
    "gem": (GeneralizedMean, 1),
    "spp": (SpatialPyramid, 21),
}
