"""Residual networks with a choice of normalisation, attention and pooling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from mlcompare.encoders.attention import ATTENTIONS
from mlcompare.encoders.base import checked_whole, register_encoder
from mlcompare.encoders.pooling import POOLINGS
from mlcompare.errors import InvalidValueError

__all__ = ["ResidualBlock", "resnet"]

DEPTHS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}  # blocks of each stage
LARGE = 96  # pixels a side from which the stem reduces the image
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "bn": nn.BatchNorm2d,
    "ln": lambda channels: nn.GroupNorm(1, channels),
    "in": lambda channels: nn.GroupNorm(channels, channels),
    "gn": lambda channels: nn.GroupNorm(_groups(channels), channels),
}


def _groups(channels: int) -> int:
    """The most groups, 32 at most, that divide the channels."""
    return next(groups for groups in range(min(32, channels), 0, -1) if channels % groups == 0)


class ResidualBlock(nn.Module):
    """``relu(x' + attention(norm(conv(relu(norm(conv(x)))))))``; x' is x, or a 1×1 convolution of it.

    >>> import torch
    >>> ResidualBlock(4, 8, stride=2)(torch.zeros(2, 4, 6, 6)).shape
    torch.Size([2, 8, 3, 3])
    """

    def __init__(self, before: int, after: int, *, stride: int = 1, norm: str = "bn", attention: str = "none") -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, padding=1, bias=False), NORMS[norm](after), nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False), NORMS[norm](after), ATTENTIONS[attention](after),
        )  # fmt: skip
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or before != after:
            # pixels are dropped first: some CPU builds of torch corrupt memory in a 1×1 convolution with stride 2
            layers = [nn.Conv2d(before, after, 1, bias=False), NORMS[norm](after)]
            self.shortcut = nn.Sequential(*([nn.MaxPool2d(1, stride)] if stride > 1 else []), *layers)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.layers(x))


@register_encoder("resnet", takes="images")
def resnet(
    input_shape: tuple[int, ...], embedding_dim: int, depth: int = 18, width: int = 64, norm: str = "bn",
    attention: str = "none", pooling: str = "avg",
) -> nn.Module:  # fmt: skip
    """A residual network of basic blocks (He et al. 2016, arXiv:1512.03385) for images of any size.

    Stages have w, 2w, 4w and 8w channels and halve the image from the second on, while 4 pixels or more are left on a
    side. Images of 96 pixels or more are first reduced by 4, as in the paper; smaller ones are not.

    Args:
        depth: 10, 18 or 34 layers.
        width: w, 64 in the paper.
        norm: ``bn`` batch, ``ln`` layer (over channels and places), ``in`` instance, ``gn`` group (32 groups at most).
        attention: in every block, ``none``, ``se`` (channels), ``spatial`` or ``cbam`` (both).
        pooling: over places, ``avg``, ``max``, ``gem`` (generalised mean) or ``spp`` (pyramid of 1, 4 and 16 parts).

    Raises:
        InvalidValueError: an option is out of its range.

    >>> import torch
    >>> encoder = resnet((3, 17, 23), 5, depth=10, width=4, attention="cbam", pooling="spp")
    >>> encoder(torch.zeros(2, 3, 17, 23)).shape
    torch.Size([2, 5])
    """
    checked_whole("resnet", width=width)
    choices: dict[str, Mapping[Any, Any]] = {
        "depth": DEPTHS,
        "norm": NORMS,
        "attention": ATTENTIONS,
        "pooling": POOLINGS,
    }
    for key, value in {"depth": depth, "norm": norm, "attention": attention, "pooling": pooling}.items():
        if isinstance(value, bool) or not isinstance(value, int | str) or value not in choices[key]:
            rule = f"`{key}` must be one of {', '.join(map(str, choices[key]))}"
            raise InvalidValueError(rule, value=f"{key}={value!r}", place="resnet")
    channels, *sides = input_shape
    side = min(sides)
    if side >= LARGE:
        stem = [nn.Conv2d(channels, width, 7, 2, padding=3, bias=False), NORMS[norm](width), nn.ReLU()]
        layers: list[nn.Module] = [*stem, nn.MaxPool2d(3, 2, padding=1)]
        side = -(-side // 4)
    else:
        layers = [nn.Conv2d(channels, width, 3, padding=1, bias=False), NORMS[norm](width), nn.ReLU()]
    before = width
    for stage, blocks in enumerate(DEPTHS[depth]):
        after = width * 2**stage
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 and side >= 4 else 1
            side = -(-side // stride)
            layers.append(ResidualBlock(before, after, stride=stride, norm=norm, attention=attention))
            before = after
    pool, factor = POOLINGS[pooling]
    encoder = nn.Sequential(*layers, pool(), nn.Linear(before * factor, embedding_dim))
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return encoder
