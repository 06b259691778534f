"""The MNIST network of the large-margin softmax paper."""

from __future__ import annotations

from torch import nn

from mlcompare.encoders.base import checked_whole, register_encoder

__all__ = ["l_softmax_net"]

BLOCKS = (3, 4, 3)  # convolutions before each pooling


@register_encoder("l_softmax_net", takes="images", embedding_dim=256)
def l_softmax_net(input_shape: tuple[int, ...], embedding_dim: int, width: int = 64) -> nn.Module:
    """The MNIST network of Liu et al. 2016 (arXiv:1612.02295, table 1): 3×3 convolutions with batch norm and PReLU.

    One convolution, then blocks of 3, 4 and 3, each pooled 2×2, all with ``width`` channels (64 in the paper; fewer
    for quick studies); a linear layer to D (256) and batch norm. Pooling stops when one pixel is left.

    >>> import torch
    >>> l_softmax_net((1, 28, 28), 256, width=8)(torch.zeros(3, 1, 28, 28)).shape
    torch.Size([3, 256])
    """
    checked_whole("l_softmax_net", width=width)
    channels, height, breadth = input_shape
    layers = _convolution(channels, width)
    for convolutions in BLOCKS:
        for _ in range(convolutions):
            layers += _convolution(width, width)
        if min(height, breadth) >= 2:
            layers.append(nn.MaxPool2d(2))
            height, breadth = height // 2, breadth // 2
    features = width * height * breadth
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, embedding_dim), nn.BatchNorm1d(embedding_dim))


def _convolution(before: int, after: int) -> list[nn.Module]:
    convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, a=0.25)  # variances near 1: running statistics fit from the first steps
    return [convolution, nn.BatchNorm2d(after), nn.PReLU()]
