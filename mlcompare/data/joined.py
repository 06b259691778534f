"""Two sets of images as one array: in memory where it is small, else a file in the user's cache, written once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from mlcompare.data.cache import IN_MEMORY
from mlcompare.errors import DataError
from mlcompare.files import user_cache, whole_file

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
        return np.concatenate([first, *(image[None] for image in further)])
    path = user_cache() / f"joined-{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as out:
                np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": shape})
                for start in range(0, len(first), CHUNK):
                    out.write(np.ascontiguousarray(first[start : start + CHUNK]).data)
                for image in further:
                    out.write(np.ascontiguousarray(image).data)
        except OSError as error:
            reason = f"{error.strerror or error} in {path.parent}"
            raise DataError("the images must fit on disk", value=reason, cure="make room", place=place) from None
    return np.load(path, mmap_mode="c", allow_pickle=False)
