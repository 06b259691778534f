"""An augmentation: what is drawn, and how it is applied."""

from __future__ import annotations

import torch
from torch import Tensor

from mlcompare import register_augmentation


def draw(batch: int, strength: float, generator: torch.Generator, shape: tuple[int, int, int]) -> Tensor:
    """One number from -1 to 1 for each image."""
    return 2 * torch.rand(1, batch, generator=generator) - 1


@register_augmentation("zoo_augmentation", draw=draw, high=1.0, unit="share of 255")
def zoo_augmentation(images: Tensor, drawn: Tensor, strength: float) -> Tensor:
    """Brighter or darker as a whole."""
    return (images + 255 * strength * drawn[0, :, None, None, None]).clamp(0, 255)
