"""Attention for convolutional features: which channels, which places."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["ATTENTIONS", "ChannelAttention", "SpatialAttention"]


class ChannelAttention(nn.Module):
    """Squeeze and excitation: ``x · σ(W₂ relu(W₁ mean_{hw}(x)))`` (Hu et al. 2018, arXiv:1709.01507).

    Args:
        channels: of ``x (B, C, H, W)``; the output has its shape.
        with_max: add the same layers' answer to ``max_{hw}(x)``, as CBAM does.

    >>> ChannelAttention(8)(torch.ones(2, 8, 3, 3)).shape
    torch.Size([2, 8, 3, 3])
    """

    def __init__(self, channels: int, *, with_max: bool = False) -> None:
        super().__init__()
        hidden = max(channels // 16, 4)
        self.layers = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))
        self.with_max = with_max

    def forward(self, x: Tensor) -> Tensor:
        weights = self.layers(x.mean((2, 3)))  # (B, C)
        if self.with_max:
            weights = weights + self.layers(x.amax((2, 3)))
        return x * weights.sigmoid()[:, :, None, None]


class SpatialAttention(nn.Module):
    """``x · σ(conv7×7([mean_c(x); max_c(x)]))``: the spatial half of CBAM (Woo et al. 2018, arXiv:1807.06521).

    >>> SpatialAttention(8)(torch.ones(2, 8, 3, 3)).shape
    torch.Size([2, 8, 3, 3])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        maps = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)  # (B, 2, H, W)
        return x * self.convolution(maps).sigmoid()


def _cbam(channels: int) -> nn.Module:
    """Channels first, then places."""
    return nn.Sequential(ChannelAttention(channels, with_max=True), SpatialAttention(channels))


ATTENTIONS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda channels: nn.Identity(),
    "se": ChannelAttention,
    "spatial": SpatialAttention,
    "cbam": _cbam,
}
