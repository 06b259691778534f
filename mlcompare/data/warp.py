"""Geometric augmentations as matrices: what follows one another is one matrix, and the pixels move once.

Each function returns ``(B, 3, 3)``, which maps homogeneous pixel coordinates ``(x, y, 1)`` to where they go. Numbers
``drawn`` are uniform in [0, 1).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["affine_matrix", "crop_matrix", "rotation_matrix", "scale_matrix", "warp"]


def rotation_matrix(drawn: Tensor, degrees: float, height: int, width: int) -> Tensor:
    """Turn about the centre by up to ``degrees`` either way; ``drawn (1, B)``."""
    angle = math.radians(degrees) * (2 * drawn[0] - 1)  # (B,)
    cos, sin = angle.cos(), angle.sin()
    return _about_centre(cos, -sin, sin, cos, height, width)


def scale_matrix(drawn: Tensor, share: float, height: int, width: int) -> Tensor:
    """Grow or shrink about the centre by up to ``share``; ``drawn (1, B)``."""
    factor = 1 + share * (2 * drawn[0] - 1)  # (B,)
    zero = torch.zeros_like(factor)
    return _about_centre(factor, zero, zero, factor, height, width)


def affine_matrix(drawn: Tensor, strength: float, height: int, width: int) -> Tensor:
    """Add up to ``strength`` either way to each entry of the 2 × 2 identity, about the centre; ``drawn (4, B)``."""
    change = strength * (2 * drawn - 1)  # (4, B)
    return _about_centre(1 + change[0], change[1], change[2], 1 + change[3], height, width)


def crop_matrix(drawn: Tensor, share: float, height: int, width: int) -> Tensor:
    """Cut off up to ``share`` of each side, anywhere, and enlarge what is left to the whole; ``drawn (3, B)``."""
    side = 1 - share * drawn[0]  # (B,)
    left, top = ((1 - side) * (length - 1) * place for length, place in ((width, drawn[1]), (height, drawn[2])))
    zero = torch.zeros_like(side)
    return _matrix(1 / side, zero, -left / side, zero, 1 / side, -top / side)


def _about_centre(a: Tensor, b: Tensor, c: Tensor, d: Tensor, height: int, width: int) -> Tensor:
    x, y = (width - 1) / 2, (height - 1) / 2
    return _matrix(a, b, x - a * x - b * y, c, d, y - c * x - d * y)


def _matrix(a: Tensor, b: Tensor, x: Tensor, c: Tensor, d: Tensor, y: Tensor) -> Tensor:
    zero, one = torch.zeros_like(a), torch.ones_like(a)
    return torch.stack([a, b, x, c, d, y, zero, zero, one], -1).view(-1, 3, 3)


def warp(images: Tensor, matrices: Tensor) -> Tensor:
    """Move the pixels of ``images (B, C, H, W)`` as ``matrices (B, 3, 3)`` say: bilinear, edges repeat."""
    from kornia.geometry.transform import warp_affine

    return warp_affine(
        images, matrices[:, :2], (images.shape[-2], images.shape[-1]), mode="bilinear", padding_mode="border"
    )
