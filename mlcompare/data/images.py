"""Decode one image file to a uint8 array."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from mlcompare.data.decoders_say import heard, standard_error
from mlcompare.errors import DataError, InvalidValueError

__all__ = [
    "Unreadable",
    "checked_channels",
    "checked_max_pixels",
    "checked_size",
    "decode",
    "measured_bits",
    "read_image",
    "readable_endings",
]

NAMED_ONLY = frozenset({"MPEG"})  # Pillow knows it by name, but can't decode it; others say so by their class
MODES = {1: "L", 3: "RGB"}
DEPTHS = (8, 10, 12, 14, 16)  # bits that cameras and scanners put into 16
MOST_PIXELS = 1 << 34


class Unreadable(Exception):
    """An image that can't be decoded: ``reason`` is one of a few phrases, ``detail`` what the decoder said."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail = reason, detail


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


def checked_max_pixels(most: object, *, place: str) -> int | None:
    """Return how many pixels an image may have, or None for Pillow's limit."""
    if most is None or (type(most) is int and 1 <= most <= MOST_PIXELS):
        return most
    rule = f"`max_pixels` must be a whole number of pixels, 1 to {MOST_PIXELS}"
    raise InvalidValueError(rule, value=f"max_pixels={most!r}", place=place)


def readable_endings() -> frozenset[str]:
    """Return the file name endings, such as ``.jpg``, of every format that Pillow reads here.

    Formats that it can only name are none of them, nor those that only Windows decodes (.wmf, .emf).
    """
    known = Image.registered_extensions().items()
    return frozenset(ending for ending, name in known if name in Image.OPEN and _decodes(name))


def _decodes(name: str) -> bool:
    opener = Image.OPEN[name][0]
    stub = isinstance(opener, type) and issubclass(opener, ImageFile.StubImageFile)
    return name not in NAMED_ONLY and (not stub or (name == "WMF" and hasattr(Image.core, "drawwmf")))


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
        return decode(path, size, channels=channels, resample=resample)
    except Unreadable as error:
        rule = "the file must exist" if error.reason == "does not exist" else "the image must be readable"
        raise DataError(rule, value=f"{path} ({error})") from None


def decode(
    path: Path | BinaryIO,
    size: tuple[int, int],
    *,
    channels: int,
    resample: Image.Resampling = Image.Resampling.BILINEAR,
    bits: int | Callable[[], int] = 16,
    max_pixels: int | None = None,
    said: list[str] | None = None,
) -> np.ndarray:
    """Read an image as :func:`read_image` does, told more.

    Args:
        bits: how many bits the values of 16-bit grey have, or a function that finds out where there is such an image.
        max_pixels: how many pixels an image may have, in the place of Pillow's limit.
        said: takes what the decoder warned of.

    Raises:
        Unreadable: the file is missing or can't be decoded.
    """
    said = [] if said is None else said
    try:
        with heard(said), _opened(path, max_pixels) as image, _libtiff(image, said):
            small = _eight_bits(image, bits).convert(MODES[channels]).resize((size[1], size[0]), resample)
            array = np.asarray(small, dtype=np.uint8)
    except Unreadable:
        raise
    except Exception as error:  # decoders raise anything on broken bytes (struct.error, KeyError, EOFError, …)
        raise _unreadable(error, said) from None
    return array[None] if channels == 1 else array.transpose(2, 0, 1)


@contextmanager
def _opened(path: Path | BinaryIO, max_pixels: int | None) -> Iterator[Image.Image]:
    limit = Image.MAX_IMAGE_PIXELS
    try:
        if max_pixels is not None:
            Image.MAX_IMAGE_PIXELS = None
        with Image.open(path) as image:
            if max_pixels is not None and image.width * image.height > max_pixels:
                raise Unreadable("more pixels than max_pixels", f"{image.width} × {image.height}")
            yield image
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _libtiff(image: Image.Image, said: list[str]) -> AbstractContextManager[None]:
    return standard_error(said) if image.format == "TIFF" else nullcontext()


def measured_bits(paths: Iterable[Path], max_pixels: int | None = None) -> int:
    """Return how many bits the 16-bit grey images among ``paths`` use: 8, 10, 12, 14 or 16, the first that hold all.

    Files that can't be read are passed over; a file that declares its range (PGM) is scaled by that.
    """
    bits, said = DEPTHS[0], list[str]()
    for path in paths:
        try:
            with heard(said), _opened(path, max_pixels) as image, _libtiff(image, said):
                if _is_deep(image) and not _declares_its_range(image):
                    highest = int(np.asarray(image).max())
                    bits = max(bits, next(depth for depth in DEPTHS if highest < 2**depth))
        except Exception:  # it is named when it is decoded
            continue
        if bits == DEPTHS[-1]:
            break
    return bits


def _is_deep(image: Image.Image) -> bool:
    """Whether it is 16-bit grey. Pillow has PGM of more than 8 bits as "I", stretched to 0 … 65535."""
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")


def _declares_its_range(image: Image.Image) -> bool:
    """Whether Pillow stretches its values to 0 … 65535, because the file says how high they go; asked before loading.

    A PGM that declares 65535 declares no more than its container.
    """
    tiles = getattr(image, "tile", ()) if image.format == "PPM" else ()
    return any(str(codec).startswith("ppm") and arguments[1] != 0xFFFF for codec, _, _, arguments in tiles)


def _is_cut_to_eight(image: Image.Image) -> bool:
    """Whether Pillow reads only the upper byte of each colour of 16 bits; asked before loading."""
    modes = [str(arguments) for _, _, _, arguments in getattr(image, "tile", ())]
    return any(";16" in mode or "65535" in mode for mode in modes)


def _eight_bits(image: Image.Image, bits: int | Callable[[], int]) -> Image.Image:
    """Pillow cuts 16-bit grey off at 255, which whitens it: scale it by its depth instead."""
    deep, declared = _is_deep(image), _declares_its_range(image)
    if not deep and _is_cut_to_eight(image):
        warnings.warn("colours of 16 bits are read by their upper 8: data of fewer bits come out dark", stacklevel=1)
    upright = ImageOps.exif_transpose(image)
    if deep:
        depth = 16 if declared else bits() if callable(bits) else bits
        return Image.fromarray((np.asarray(upright).astype(np.int64) >> (depth - 8)).clip(0, 255).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise Unreadable("pixels of 32 bits have no agreed range", "save it with 8 or 16 bits")
    return upright


def _unreadable(error: Exception, said: list[str]) -> Unreadable:
    """Say in a few words why an image can't be decoded; what the decoder warned of is the detail."""
    if isinstance(error, FileNotFoundError):
        return Unreadable("does not exist")
    if isinstance(error, IsADirectoryError):
        return Unreadable("a folder")
    if isinstance(error, PermissionError):
        return Unreadable("no permission to read it")
    if isinstance(error, Image.DecompressionBombError):
        return Unreadable("more pixels than Pillow's limit", str(error).partition("(")[2].partition(")")[0])
    if isinstance(error, UnidentifiedImageError):
        return Unreadable("no image that Pillow knows")
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, EOFError) or "truncated" in text.lower():
        return Unreadable("cut short", text if "truncated" not in text.lower() else "")
    return Unreadable("broken", "; ".join(dict.fromkeys([text, *said[-1:]])))
