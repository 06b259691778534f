"""Noise and blur of pixels from 0 to 255."""

from __future__ import annotations

import math

from torch import Tensor

__all__ = ["blur", "noise"]

SHARPEST = 0.01  # pixels: a blur by less changes nothing


def noise(images: Tensor, drawn: Tensor, deviation: float) -> Tensor:
    """Add Gaussian noise to ``images (B, C, H, W)``: ``deviation`` is a share of 255; ``drawn (C, H, W, B)``."""
    return (images + 255 * deviation * drawn.movedim(-1, 0)).clamp(0, 255)


def blur(images: Tensor, drawn: Tensor, pixels: float) -> Tensor:
    """Blur by a Gaussian of up to ``pixels`` standard deviation; ``drawn (1, B)`` is uniform in [0, 1)."""
    from kornia.filters import gaussian_blur2d

    sigma = (pixels * drawn[0]).clamp_min(SHARPEST)[:, None].expand(-1, 2)  # (B, 2)
    side = 2 * math.ceil(2 * pixels) + 1
    return gaussian_blur2d(images, (side, side), sigma, border_type="replicate")
