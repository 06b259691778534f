"""Small convolutional encoders."""

from __future__ import annotations

from torch import nn

from mlcompare.encoders.base import register_encoder
from mlcompare.errors import InvalidValueError

__all__ = ["conv4"]


@register_encoder("conv4", takes="images")
def conv4(input_shape: tuple[int, ...], embedding_dim: int, width: int = 16) -> nn.Module:
    """Four blocks (3×3 convolution, batch norm, ReLU, 2×2 max pooling) of w, 2w, 4w, 4w channels, then a linear layer."""
    channels, height, width_in = input_shape
    if min(height, width_in) < 8 or width < 1:
        got = f"{height}×{width_in} pixels, width={width}"
        raise InvalidValueError("images must be 8×8 or larger and `width >= 1`", value=got, place="conv4")
    layers: list[nn.Module] = []
    for after in (width, 2 * width, 4 * width, 4 * width):
        layers += [nn.Conv2d(channels, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        if min(height, width_in) >= 2:
            layers.append(nn.MaxPool2d(2))
            height, width_in = height // 2, width_in // 2
        channels = after
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * width_in, embedding_dim))
