"""LeNet++, the network of the center-loss paper's pictures."""

from __future__ import annotations

from torch import nn

from mlcompare.encoders.base import checked_whole, register_encoder

__all__ = ["lenetpp"]


@register_encoder("lenetpp", takes="images", embedding_dim=2)
def lenetpp(input_shape: tuple[int, ...], embedding_dim: int, width: int = 32) -> nn.Module:
    """LeNet++ (Wen et al. 2016, "A discriminative feature learning approach for deep face recognition", table 1).

    Three stages of two 5×5 convolutions (w, 2w and 4w channels, w = 32 in the paper) with PReLU and 2×2 max pooling,
    then a linear layer to D (2 in the paper, so that the embedding can be drawn) and a PReLU. No normalisation: it
    takes small learning rates, and weights start as He et al. 2015 draw them for PReLU (smaller ones leave all
    embeddings alike). Pooling stops when one pixel is left.

    >>> import torch
    >>> lenetpp((1, 28, 28), 2)(torch.zeros(3, 1, 28, 28)).shape
    torch.Size([3, 2])
    """
    checked_whole("lenetpp", width=width)
    before, height, width_now = input_shape
    layers: list[nn.Module] = []
    for after in (width, 2 * width, 4 * width):
        for channels in (before, after):
            layers += [nn.Conv2d(channels, after, 5, padding=2), nn.PReLU()]
        if min(height, width_now) >= 2:
            layers.append(nn.MaxPool2d(2))
            height, width_now = height // 2, width_now // 2
        before = after
    layers += [nn.Flatten(), nn.Linear(before * height * width_now, embedding_dim), nn.PReLU()]
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, a=0.25)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)
