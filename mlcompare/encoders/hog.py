"""Histograms of oriented gradients: the descriptor that was the state of the art before learned features."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mlcompare.encoders.base import register_encoder
from mlcompare.errors import InvalidValueError

__all__ = ["HistogramOfGradients", "hog"]

ORIENTATIONS = 9
CELLS = 8  # on the shorter side, so that the descriptor's size hardly depends on the image's
MIN_SIDE = 4
EPSILON = 1e-5
CLIP = 0.2


class HistogramOfGradients(nn.Module):
    """HOG (Dalal & Triggs 2005): ``(B, C, H, W)`` → ``(B, F)``, a histogram of 9 edge directions in each cell.

    The shorter side has about 8 cells of at least 2 pixels. Histograms are normalised in overlapping blocks of 2×2
    cells by their L2 norm, clipped at 0.2 and normalised again (L2-Hys). Of several channels, each pixel takes the one
    with the largest gradient. The values are those of ``skimage.feature.hog``, for a whole batch at once.

    >>> HistogramOfGradients((1, 16, 24))(torch.rand(3, 1, 16, 24)).shape
    torch.Size([3, 2772])
    """

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        _, height, width = input_shape
        self.cell = max(2, min(height, width) // CELLS)
        self.grid = (height // self.cell, width // self.cell)
        self.size = (self.grid[0] - 1) * (self.grid[1] - 1) * 4 * ORIENTATIONS

    def forward(self, images: Tensor) -> Tensor:
        images = images.detach()  # nothing before the descriptor learns
        down = F.pad(images[:, :, 2:] - images[:, :, :-2], (0, 0, 1, 1))  # (B, C, H, W), 0 at the border
        right = F.pad(images[:, :, :, 2:] - images[:, :, :, :-2], (1, 1))
        strongest = (down.square() + right.square()).argmax(1, keepdim=True)
        down, right = (gradient.gather(1, strongest)[:, 0] for gradient in (down, right))  # (B, H, W)
        magnitude = torch.hypot(down, right)
        direction = torch.rad2deg(torch.atan2(down, right)) % 180
        bins = (direction * (ORIENTATIONS / 180)).long().clamp(0, ORIENTATIONS - 1)
        votes = F.one_hot(bins, ORIENTATIONS).movedim(-1, 1) * magnitude[:, None]  # (B, 9, H, W)
        rows, columns = (count * self.cell for count in self.grid)
        histograms = F.avg_pool2d(votes[:, :, :rows, :columns], self.cell).movedim(1, -1)  # (B, rows, columns, 9)
        parts = [histograms[:, :-1, :-1], histograms[:, :-1, 1:], histograms[:, 1:, :-1], histograms[:, 1:, 1:]]
        return _normalised(_normalised(torch.cat(parts, -1)).clamp_max(CLIP)).flatten(1)


def _normalised(blocks: Tensor) -> Tensor:
    return blocks / (blocks.square().sum(-1, keepdim=True) + EPSILON**2).sqrt()


@register_encoder("hog", takes="images")
def hog(input_shape: tuple[int, ...], embedding_dim: int) -> nn.Module:
    """Histograms of oriented gradients (9 directions, about 8 cells a side), then a linear layer; see the class."""
    if min(input_shape[1:]) < MIN_SIDE:
        rule = f"images must have {MIN_SIDE} pixels or more on a side"
        raise InvalidValueError(rule, value=str(input_shape), place="hog")
    descriptor = HistogramOfGradients(input_shape)
    return nn.Sequential(descriptor, nn.Linear(descriptor.size, embedding_dim))
