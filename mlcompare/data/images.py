"""Decode one image file to a uint8 array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from mlcompare.errors import DataError, InvalidValueError

__all__ = ["checked_size", "read_image"]

MODES = {1: "L", 3: "RGB"}


def checked_size(size: object, *, place: str) -> tuple[int, int]:
    """Return ``(height, width)``; one number means a square.

    >>> checked_size(32, place="faces")
    (32, 32)
    """
    pair = (size, size) if isinstance(size, int) else size
    whole = isinstance(pair, list | tuple) and len(pair) == 2 and all(type(n) is int and 1 <= n <= 8192 for n in pair)
    if not whole:
        rule = "`size` must be [height, width] in pixels, 1 to 8192"
        raise InvalidValueError(rule, value=f"size={size!r}", place=place)
    return tuple(pair)


def read_image(
    path: Path, size: tuple[int, int], *, channels: int, resample: Image.Resampling = Image.Resampling.BILINEAR
) -> np.ndarray:
    """Read any format that Pillow knows as ``(channels, height, width)`` uint8.

    Raises:
        DataError: the file is missing or can't be decoded.
    """
    try:
        with Image.open(path) as image:
            small = image.convert(MODES[channels]).resize((size[1], size[0]), resample)
    except FileNotFoundError:
        raise DataError("the file must exist", value=str(path)) from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError("the image must be readable", value=f"{path} ({reason})") from None
    array = np.asarray(small, dtype=np.uint8)
    return array[None] if channels == 1 else array.transpose(2, 0, 1)
