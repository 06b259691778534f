"""Augmentation of image batches on their device; every draw comes from the caller's generator."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from mlcompare.errors import InvalidValueError, UnknownNameError, did_you_mean

__all__ = ["AUGMENTATIONS", "augment", "check_augmentation", "flip", "shift"]


def flip(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Mirror each image ``(B, C, H, W)`` left to right with the given probability."""
    chosen = torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device) < probability
    return torch.where(chosen, images.flip(3), images)


def shift(images: Tensor, pixels: float, generator: torch.Generator) -> Tensor:
    """Move each image ``(B, C, H, W)`` by up to ``pixels`` whole pixels up, down, left and right; edges repeat."""
    most = int(pixels)
    batch, _, height, width = images.shape
    padded = F.pad(images, (most,) * 4, mode="replicate")
    offsets = torch.randint(0, 2 * most + 1, (2, batch), generator=generator, device=images.device)
    rows = offsets[0, :, None] + torch.arange(height, device=images.device)  # (B, H)
    columns = offsets[1, :, None] + torch.arange(width, device=images.device)  # (B, W)
    first = torch.arange(batch, device=images.device)[:, None, None]
    moved = padded.permute(0, 2, 3, 1)[first, rows[:, :, None], columns[:, None, :]]  # (B, H, W, C)
    return moved.permute(0, 3, 1, 2)


Augmentation = Callable[[Tensor, float, torch.Generator], Tensor]
AUGMENTATIONS: dict[str, tuple[Augmentation, float, float]] = {"flip": (flip, 0.0, 1.0), "shift": (shift, 0.0, 64.0)}


def check_augmentation(given: Mapping[str, float]) -> None:
    """Check names and ranges.

    Raises:
        UnknownNameError: no such augmentation.
        InvalidValueError: its strength is out of range.

    >>> check_augmentation({"flip": 0.5, "shift": 2})
    """
    for name, strength in given.items():
        if name not in AUGMENTATIONS:
            cure = did_you_mean(name, AUGMENTATIONS)
            raise UnknownNameError(f"unknown augmentation {name!r}", cure=cure, place=name)
        _, low, high = AUGMENTATIONS[name]
        if isinstance(strength, bool) or not isinstance(strength, int | float) or not low <= strength <= high:
            raise InvalidValueError(f"must be a number from {low:g} to {high:g}", value=repr(strength), place=name)


def augment(images: Tensor, given: Mapping[str, float], generator: torch.Generator) -> Tensor:
    """Apply augmentations in the order given."""
    for name, strength in given.items():
        images = AUGMENTATIONS[name][0](images, strength, generator)
    return images
