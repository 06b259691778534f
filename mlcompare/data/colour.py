"""Colour augmentations of pixels from 0 to 255, before standardisation: every result stays in that range."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["brightness", "contrast", "hue", "pca_jitter", "saturation"]

# Standard deviations and directions of the colours of ImageNet's pixels (Krizhevsky et al. 2012, section 4.1)
DEVIATIONS = (0.2175, 0.0188, 0.0045)
DIRECTIONS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))  # columns


def brightness(images: Tensor, drawn: Tensor, share: float) -> Tensor:
    """Multiply ``images (B, C, H, W)`` by 1 ± ``share``; ``drawn (1, B)`` is uniform in [0, 1)."""
    from kornia.enhance import adjust_brightness_accumulative

    return 255 * adjust_brightness_accumulative(images / 255, _factor(drawn, share))


def contrast(images: Tensor, drawn: Tensor, share: float) -> Tensor:
    """Multiply the distance to the image's mean grey by 1 ± ``share``."""
    from kornia.enhance import adjust_contrast_with_mean_subtraction

    return 255 * adjust_contrast_with_mean_subtraction(images / 255, _factor(drawn, share))


def saturation(images: Tensor, drawn: Tensor, share: float) -> Tensor:
    """Multiply the distance to each pixel's grey by 1 ± ``share``; RGB."""
    from kornia.enhance import adjust_saturation_with_gray_subtraction

    return 255 * adjust_saturation_with_gray_subtraction(images / 255, _factor(drawn, share))


def hue(images: Tensor, drawn: Tensor, turns: float) -> Tensor:
    """Turn the hue by up to ``turns`` of the colour circle either way; RGB."""
    from kornia.color import rgb_to_hsv

    angle, saturation, value = rgb_to_hsv(images / 255).unbind(1)  # (B, H, W), the angle in rad
    sixths = 3 / math.pi * angle + 6 * turns * (2 * drawn[0] - 1)[:, None, None]
    # back to RGB without a case for each sixth of the circle (five times as fast): channel = v − v·s·w(sixths + n)
    place = (sixths[:, None] + images.new_tensor((5.0, 3.0, 1.0))[:, None, None]) % 6  # (B, 3, H, W)
    weight = torch.minimum(place, 4 - place).clamp_(0, 1)
    return 255 * (value[:, None] - (value * saturation)[:, None] * weight)


def pca_jitter(images: Tensor, drawn: Tensor, deviation: float) -> Tensor:
    """Shift all pixels of an image along the main directions of natural colours (Krizhevsky et al. 2012, section 4.1).

    ``p + Σᵢ αᵢ λᵢ eᵢ`` with α ~ N(0, ``deviation``²) for each image; λ and e are ImageNet's. ``drawn (3, B)`` is
    standard normal; RGB.
    """
    along = drawn.T * deviation * images.new_tensor(DEVIATIONS)  # (B, 3)
    shift = 255 * along @ images.new_tensor(DIRECTIONS).T  # (B, 3 colours)
    return (images + shift[:, :, None, None]).clamp(0, 255)


def _factor(drawn: Tensor, share: float) -> Tensor:
    return torch.clamp(1 + share * (2 * drawn[0] - 1), min=0)
