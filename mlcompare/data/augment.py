"""Augmentation of image batches on their device.

Each augmentation is a pair: *draw* its parameters for a batch from the caller's generator, and *apply* them. A
population draws for each member, then applies to all members' images at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mlcompare.errors import InvalidValueError, UnknownNameError, did_you_mean

__all__ = ["AUGMENTATIONS", "Augmentation", "apply_augmentation", "augment", "check_augmentation", "draw_augmentation"]


@dataclass(frozen=True)
class Augmentation:
    """``draw(B, strength, generator) → parameters (…, B)``, ``apply(images, parameters, strength) → images``."""

    draw: Callable[[int, float, torch.Generator], Tensor]
    apply: Callable[[Tensor, Tensor, float], Tensor]
    low: float
    high: float


def _draw_flip(batch: int, probability: float, generator: torch.Generator) -> Tensor:
    return torch.rand(1, batch, generator=generator, device=generator.device) < probability


def _flip(images: Tensor, chosen: Tensor, _probability: float) -> Tensor:
    """Mirror the chosen images ``(B, C, H, W)`` left to right."""
    return torch.where(chosen[0, :, None, None, None], images.flip(3), images)


def _draw_shift(batch: int, pixels: float, generator: torch.Generator) -> Tensor:
    return torch.randint(0, 2 * int(pixels) + 1, (2, batch), generator=generator, device=generator.device)


def _shift(images: Tensor, offsets: Tensor, pixels: float) -> Tensor:
    """Move each image by whole pixels up, down, left and right; edges repeat."""
    _, _, height, width = images.shape
    padded = F.pad(images, (int(pixels),) * 4, mode="replicate")
    rows = offsets[0, :, None] + torch.arange(height, device=images.device)  # (B, H)
    columns = offsets[1, :, None] + torch.arange(width, device=images.device)  # (B, W)
    first = torch.arange(len(images), device=images.device)[:, None, None]
    moved = padded.permute(0, 2, 3, 1)[first, rows[:, :, None], columns[:, None, :]]  # (B, H, W, C)
    return moved.permute(0, 3, 1, 2)


AUGMENTATIONS = {
    "flip": Augmentation(_draw_flip, _flip, 0.0, 1.0),
    "shift": Augmentation(_draw_shift, _shift, 0.0, 64.0),
}


def check_augmentation(given: Mapping[str, float]) -> None:
    """Check names and strengths: ``flip`` is a probability, ``shift`` a number of pixels.

    Raises:
        UnknownNameError: no such augmentation.
        InvalidValueError: its strength is out of range.

    >>> check_augmentation({"flip": 0.5, "shift": 2})
    """
    for name, strength in given.items():
        if name not in AUGMENTATIONS:
            cure = did_you_mean(name, AUGMENTATIONS)
            raise UnknownNameError(f"unknown augmentation {name!r}", cure=cure, place=name)
        low, high = AUGMENTATIONS[name].low, AUGMENTATIONS[name].high
        if isinstance(strength, bool) or not isinstance(strength, int | float) or not low <= strength <= high:
            raise InvalidValueError(f"must be a number from {low:g} to {high:g}", value=repr(strength), place=name)


def draw_augmentation(batch: int, given: Mapping[str, float], generator: torch.Generator) -> list[Tensor]:
    """Return the parameters of each augmentation for a batch of ``batch`` images, in the order given."""
    return [AUGMENTATIONS[name].draw(batch, strength, generator) for name, strength in given.items()]


def apply_augmentation(images: Tensor, given: Mapping[str, float], parameters: list[Tensor]) -> Tensor:
    """Apply drawn augmentations to ``images (B, C, H, W)``."""
    for (name, strength), drawn in zip(given.items(), parameters):
        images = AUGMENTATIONS[name].apply(images, drawn, strength)
    return images


def augment(images: Tensor, given: Mapping[str, float], generator: torch.Generator) -> Tensor:
    """Draw and apply augmentations in the order given."""
    return apply_augmentation(images, given, draw_augmentation(len(images), given, generator))
