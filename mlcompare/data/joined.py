"""Two sets of images as one array: in memory where it is small, else a file in the user's cache, written once."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mlcompare.data.cache import IN_MEMORY
from mlcompare.errors import DataError
from mlcompare.files import user_cache

__all__ = ["joined_images"]

CHUNK = 1024  # images copied at a time


def joined_images(first: np.ndarray, further: Iterable[np.ndarray], count: int, *, key: str, place: str) -> np.ndarray:
    """Return ``first (N, C, H, W)`` followed by ``count`` images, which are drawn one at a time, and only where needed.

    Args:
        key: what both are, so that a file of the same content is mapped instead of written again.
        place: what the images are of, for messages.

    Raises:
        DataError: the file doesn't fit on the disk.
    """
    shape = (len(first) + count, *first.shape[1:])
    if int(np.prod(shape)) <= IN_MEMORY:
        images = np.empty(shape, np.uint8)
        _fill(images, first, further)
        return images
    path = user_cache() / f"joined-{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"
    if not path.is_file():
        try:
            _write(path, shape, first, further)
        except OSError as error:
            reason = f"{error.strerror or error} in {path.parent}"
            raise DataError("the images must fit on disk", value=reason, cure="make room", place=place) from None
    return np.load(path, mmap_mode="c", allow_pickle=False)


def _write(path: Path, shape: tuple[int, ...], first: np.ndarray, further: Iterable[np.ndarray]) -> None:
    """Write under another name, and rename when whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f"{path.name}.part-", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        images = np.lib.format.open_memmap(temporary, "w+", np.uint8, shape)
        _fill(images, first, further)
        images.flush()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _fill(images: np.ndarray, first: np.ndarray, further: Iterable[np.ndarray]) -> None:
    for start in range(0, len(first), CHUNK):
        images[start : start + CHUNK][: len(first) - start] = first[start : start + CHUNK]
    for row, image in enumerate(further, start=len(first)):
        images[row] = image
