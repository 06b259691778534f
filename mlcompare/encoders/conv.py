"""Small convolutional encoders: blocks of convolution (3×3), batch norm, ReLU and 2×2 max pooling.

The pooling comes before the ReLU, which then has a quarter of the work: both orders give the same numbers and
gradients, as ReLU never falls.
"""

from __future__ import annotations

from torch import nn

from mlcompare.encoders.base import checked_whole, register_encoder
from mlcompare.errors import InvalidValueError

__all__ = ["conv", "conv4"]


@register_encoder("conv", takes="images")
def conv(
    input_shape: tuple[int, ...], embedding_dim: int, channels: tuple[int, ...] = (16, 32), kernel: int = 3
) -> nn.Module:
    """One block for each number of ``channels``, then a linear layer; pooling stops when one pixel is left.

    ``kernel`` is the side of the convolutions in pixels, an odd number.
    """
    if type(kernel) is not int or kernel < 1 or kernel % 2 == 0:
        raise InvalidValueError("`kernel` must be an odd whole number", value=f"kernel={kernel!r}", place="conv")
    whole = isinstance(channels, list | tuple) and channels and all(type(c) is int and c >= 1 for c in channels)
    if not whole or len(channels) > 20:
        rule = "`channels` must list 1 to 20 whole numbers, one for each block"
        raise InvalidValueError(rule, value=f"channels={channels!r}", place="conv")
    before, height, width = input_shape
    layers: list[nn.Module] = []
    for after in channels:
        layers += [nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(after)]
        if min(height, width) >= 2:
            layers.append(nn.MaxPool2d(2))
            height, width = height // 2, width // 2
        layers.append(nn.ReLU())
        before = after
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(before * height * width, embedding_dim))


@register_encoder("conv4", takes="images")
def conv4(input_shape: tuple[int, ...], embedding_dim: int, width: int = 16) -> nn.Module:
    """Four blocks of w, 2w, 4w and 4w channels, then a linear layer."""
    checked_whole("conv4", width=width)
    return conv(input_shape, embedding_dim, (width, 2 * width, 4 * width, 4 * width))
