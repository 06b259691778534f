"""Decode one image file to a uint8 array."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from mlcompare.errors import DataError, InvalidValueError

__all__ = ["checked_channels", "checked_size", "read_image", "readable_endings"]

STUBS = frozenset({"BUFR", "GRIB", "HDF5", "MPEG"})  # Pillow knows these by name, but can't decode them
MODES = {1: "L", 3: "RGB"}


def checked_size(size: object, *, place: str) -> tuple[int, int]:
    """Return ``(height, width)``; one number means a square.

    >>> checked_size(32, place="faces")
    (32, 32)
    """
    pair = (size, size) if isinstance(size, int) else size
    whole = isinstance(pair, list | tuple) and len(pair) == 2 and all(type(n) is int and 1 <= n <= 8192 for n in pair)
    if not isinstance(pair, list | tuple) or not whole:
        rule = "`size` must be [height, width] in pixels, 1 to 8192"
        raise InvalidValueError(rule, value=f"size={size!r}", place=place)
    height, width = pair
    return height, width


def checked_channels(channels: object, *, place: str) -> int:
    """Return the number of channels: 1 (grey) or 3 (colour)."""
    if type(channels) is not int or channels not in MODES:
        rule = "`channels` must be 1 (grey) or 3 (colour)"
        raise InvalidValueError(rule, value=f"channels={channels!r}", place=place)
    return channels


def readable_endings() -> frozenset[str]:
    """Return the file name endings, such as ``.jpg``, of every format that Pillow reads."""
    known = Image.registered_extensions().items()
    return frozenset(ending for ending, name in known if name in Image.OPEN and name not in STUBS)


def read_image(
    path: Path | BinaryIO,
    size: tuple[int, int],
    *,
    channels: int,
    resample: Image.Resampling = Image.Resampling.BILINEAR,
) -> np.ndarray:
    """Read any format that Pillow knows as ``(channels, height, width)`` uint8, upright as its EXIF tag says.

    Of 16-bit grey the upper byte is kept; transparency is dropped.

    Raises:
        DataError: the file is missing or can't be decoded.
    """
    try:
        with Image.open(path) as image:
            small = _eight_bits(ImageOps.exif_transpose(image)).convert(MODES[channels])
            array = np.asarray(small.resize((size[1], size[0]), resample), dtype=np.uint8)
    except FileNotFoundError:
        raise DataError("the file must exist", value=str(path)) from None
    except Exception as error:  # decoders raise anything on broken bytes (struct.error, KeyError, EOFError, …)
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError("the image must be readable", value=f"{path} ({reason})") from None
    return array[None] if channels == 1 else array.transpose(2, 0, 1)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Pillow cuts 16-bit grey off at 255, which whitens it: keep the upper byte instead."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("pixels of 32 bits have no agreed range: save it with 8 or 16 bits")
    return image
