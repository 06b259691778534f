"""Augmentation of image batches on their device, on pixels from 0 to 255, before standardisation.

Each augmentation is a pair: *draw* its parameters for a batch from the caller's generator, and *apply* them. A
population draws for each member, then applies to all members' images at once. Geometric ones that follow one another
are one matrix, so the pixels move once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mlcompare.data import colour, filters, warp
from mlcompare.errors import InvalidValueError, UnknownNameError, did_you_mean
from mlcompare.registry import Record, Registry
from mlcompare.registry.registry import NATIVE

__all__ = [
    "AUGMENTATIONS",
    "PRESETS",
    "Augmentation",
    "apply_augmentation",
    "augment",
    "check_augmentation",
    "draw_augmentation",
    "register_augmentation",
    "resolve_augmentation",
]

Shape = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Augmentation(Record):
    """``factory(B, strength, generator, shape) → parameters (…, B)`` draws, and either of two others applies them.

    Either ``apply(images, parameters, strength) → images``, or ``matrix(parameters, strength, H, W) → (B, 3, 3)``.
    Strengths go from ``low`` to ``high`` in ``unit``.
    """

    low: float = 0.0
    high: float = 1.0
    unit: str = "share"
    apply: Callable[[Tensor, Tensor, float], Tensor] | None = None
    matrix: Callable[[Tensor, float, int, int], Tensor] | None = None
    colour: bool = False


AUGMENTATIONS = Registry("augmentation", "augmentations", Augmentation, homes=["mlcompare.data"])
Draw = Callable[[int, float, torch.Generator, Shape], Tensor]


def register_augmentation(
    name: str, *, draw: Draw, low: float = 0.0, high: float = 1.0, unit: str = "share", colour: bool = False,
    reference: str = "", replace: bool = False,
) -> Callable[[Callable[[Tensor, Tensor, float], Tensor]], Callable[[Tensor, Tensor, float], Tensor]]:  # fmt: skip
    """File an augmentation under ``name``: the decorated function applies what ``draw`` drew.

    It is called as ``apply(images (B, C, H, W) float32 from 0 to 255, parameters (…, B), strength)`` and returns images
    of the same shape. All chance is drawn from the generator that ``draw(B, strength, generator, (C, H, W))`` is given.

    Raises:
        InvalidValueError: the name is taken, and ``replace`` is not said.
    """

    def decorate(apply: Callable[[Tensor, Tensor, float], Tensor]) -> Callable[[Tensor, Tensor, float], Tensor]:
        record = Augmentation(
            name=name, factory=draw, apply=apply, low=low, high=high, unit=unit, colour=colour,
            doc=apply.__doc__ or "", reference=reference,
        )  # fmt: skip
        AUGMENTATIONS.register(record, replace=replace)
        return apply

    return decorate


def _uniform(rows: int) -> Draw:
    def draw(batch: int, _strength: float, generator: torch.Generator, _shape: Shape) -> Tensor:
        return torch.rand(rows, batch, generator=generator, device=generator.device)

    return draw


def _normal(batch: int, _strength: float, generator: torch.Generator, _shape: Shape) -> Tensor:
    return torch.randn(3, batch, generator=generator, device=generator.device)


def _normal_pixels(batch: int, _strength: float, generator: torch.Generator, shape: Shape) -> Tensor:
    return torch.randn(*shape, batch, generator=generator, device=generator.device)


def _draw_flip(batch: int, probability: float, generator: torch.Generator, _shape: Shape) -> Tensor:
    return torch.rand(1, batch, generator=generator, device=generator.device) < probability


def _flip(axis: int) -> Callable[[Tensor, Tensor, float], Tensor]:
    def apply(images: Tensor, chosen: Tensor, _probability: float) -> Tensor:
        """Mirror the chosen images ``(B, C, H, W)``."""
        return torch.where(chosen[0, :, None, None, None], images.flip(axis), images)

    return apply


def _draw_shift(batch: int, pixels: float, generator: torch.Generator, _shape: Shape) -> Tensor:
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


# the strength of each, and its bounds
_NATIVE: list[
    tuple[str, Draw, float, str, dict[str, Any]]
] = [  # name, draw, highest strength, unit, and how it is applied
    ("flip", _draw_flip, 1, "probability, left to right", {"apply": _flip(3)}),
    ("flip_vertical", _draw_flip, 1, "probability, upside down", {"apply": _flip(2)}),
    ("shift", _draw_shift, 64, "whole pixels either way", {"apply": _shift}),
    ("rotate", _uniform(1), 180, "degrees either way", {"matrix": warp.rotation_matrix}),
    ("scale", _uniform(1), 0.9, "share, larger or smaller", {"matrix": warp.scale_matrix}),
    ("crop", _uniform(3), 0.9, "share of each side cut off", {"matrix": warp.crop_matrix}),
    ("affine", _uniform(4), 0.4, "added to each entry of the matrix", {"matrix": warp.affine_matrix}),
    ("brightness", _uniform(1), 1, "share either way", {"apply": colour.brightness}),
    ("contrast", _uniform(1), 1, "share either way", {"apply": colour.contrast}),
    ("saturation", _uniform(1), 1, "share either way", {"apply": colour.saturation, "colour": True}),
    ("hue", _uniform(1), 0.5, "turns of the colour circle either way", {"apply": colour.hue, "colour": True}),
    ("pca_jitter", _normal, 1, "standard deviation of α", {"apply": colour.pca_jitter, "colour": True}),
    ("noise", _normal_pixels, 1, "standard deviation, share of 255", {"apply": filters.noise}),
    ("blur", _uniform(1), 10, "standard deviation in pixels, at most", {"apply": filters.blur}),
]
for _name, _draw, _high, _unit, _how in _NATIVE:
    _doc = f"{_name}: {_unit}"
    AUGMENTATIONS.register(
        Augmentation(name=_name, factory=_draw, high=_high, unit=_unit, doc=_doc, provider=NATIVE, **_how)
    )

PRESETS: dict[str, dict[str, float]] = {
    "faces": {"flip": 0.5, "crop": 0.1, "rotate": 5, "brightness": 0.2, "contrast": 0.2},
    "digits": {"shift": 2, "rotate": 10, "scale": 0.1, "affine": 0.1},
    "fine_grained": {
        "flip": 0.5, "crop": 0.3, "rotate": 10, "brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.05,
        "pca_jitter": 0.1,
    },
}  # fmt: skip


def resolve_augmentation(given: Mapping[str, float | str]) -> dict[str, float]:
    """Return strengths by name: those of ``preset``, where there is one, with what else is given put over them.

    Raises:
        UnknownNameError: no such preset.

    >>> resolve_augmentation({"preset": "digits", "rotate": 20, "noise": 0.05})
    {'shift': 2, 'rotate': 20, 'scale': 0.1, 'affine': 0.1, 'noise': 0.05}
    """
    own: dict[str, Any] = {name: strength for name, strength in given.items() if name != "preset"}
    if "preset" not in given:
        return own
    if given["preset"] not in PRESETS:
        cure = did_you_mean(str(given["preset"]), PRESETS)
        raise UnknownNameError(f"unknown preset {given['preset']!r}", cure=cure, place="preset")
    return PRESETS[given["preset"]] | own


def check_augmentation(given: Mapping[str, float], channels: int = 3) -> None:
    """Check names and strengths: each has its unit (``flip`` a probability, ``shift`` pixels, ``rotate`` degrees).

    Raises:
        UnknownNameError: no such augmentation.
        InvalidValueError: its strength is out of range, or it needs colours and the images have none.

    >>> check_augmentation({"flip": 0.5, "shift": 2})
    """
    for name, strength in given.items():
        if name not in AUGMENTATIONS:
            raise AUGMENTATIONS.unknown(name).at(name)
        low, high = AUGMENTATIONS.usable(name).low, AUGMENTATIONS[name].high
        if isinstance(strength, bool) or not isinstance(strength, int | float) or not low <= strength <= high:
            raise InvalidValueError(f"must be a number from {low:g} to {high:g}", value=repr(strength), place=name)
        if AUGMENTATIONS[name].colour and strength > 0 and channels != 3:
            cure = f"leave it out, or set {name}: 0"
            raise InvalidValueError("needs images of 3 channels", value=f"{channels}", cure=cure, place=name)


def draw_augmentation(batch: int, given: Mapping[str, float], generator: torch.Generator, shape: Shape) -> list[Tensor]:
    """Return the parameters of each augmentation for a batch of ``batch`` images ``(C, H, W)``, in the order given."""
    return [AUGMENTATIONS[name](batch, strength, generator, shape) for name, strength in given.items()]


def apply_augmentation(images: Tensor, given: Mapping[str, float], parameters: list[Tensor]) -> Tensor:
    """Apply drawn augmentations to ``images (B, C, H, W)`` with pixels from 0 to 255; a strength of 0 changes nothing.

    Returns:
        ``(B, C, H, W)`` float32.
    """
    images, pending = images.float(), None
    height, width = images.shape[-2:]
    for (name, strength), drawn in zip(given.items(), parameters):
        augmentation = AUGMENTATIONS[name]
        if strength == 0:
            continue
        if augmentation.matrix is not None:
            matrix = augmentation.matrix(drawn, strength, height, width)  # (B, 3, 3)
            pending = matrix if pending is None else matrix @ pending
            continue
        images, pending = _moved(images, pending), None
        assert augmentation.apply is not None  # one of the two is given
        images = augmentation.apply(images, drawn, strength)
    return _moved(images, pending)


def _moved(images: Tensor, matrices: Tensor | None) -> Tensor:
    return images if matrices is None else warp.warp(images, matrices)


def augment(images: Tensor, given: Mapping[str, float], generator: torch.Generator) -> Tensor:
    """Draw and apply augmentations in the order given."""
    channels, height, width = images.shape[1:]
    shape = (channels, height, width)
    return apply_augmentation(images, given, draw_augmentation(len(images), given, generator, shape))
