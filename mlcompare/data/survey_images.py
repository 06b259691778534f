"""What a sample of image files tells of all: sizes, colours, files that can't be read, copies of one file."""

from __future__ import annotations

import hashlib
import warnings
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mlcompare.data.counted import shown_name
from mlcompare.data.image_files import ImageFiles
from mlcompare.data.images import Unreadable, decode

__all__ = ["ImageSample", "file_copies", "sample_images"]

MOST_FILES, MOST_BYTES = 300, 200_000_000  # that are opened, and that are hashed
THUMBNAIL = (32, 32)  # pixels in which colours are looked for
COLOURED = 8  # levels that the channels of a picture in colour differ by; JPEG blurs grey by less
SHOWN = 3


@dataclass(frozen=True)
class ImageSample:
    """What was seen of the ``opened`` files: height and width of each that could be read ``(n, 2)``, and whether any is
    in colour; ``broken`` are those that could not be, with the reason, ``empty`` all files of no byte."""

    opened: int
    sizes: np.ndarray
    coloured: bool
    broken: tuple[tuple[str, str], ...]
    empty: int
    everything: bool  # whether every file was opened

    @property
    def one_size(self) -> bool:
        """Whether all that could be read have the same."""
        return bool((self.sizes == self.sizes[0]).all())

    @property
    def usual(self) -> tuple[int, int]:
        """Height and width in the median."""
        height, width = np.median(self.sizes, axis=0)
        return int(height), int(width)


def sample_images(root: Path, files: ImageFiles) -> ImageSample:
    """Open some files drawn by chance (always the same), each whole, and none beyond some 200 MB in all.

    Args:
        root: what the files' paths are relative to.
    """
    order = np.random.default_rng(0).permutation(len(files))
    sizes, broken, coloured, opened, read = list[tuple[int, int]](), list[tuple[str, str]](), False, 0, 0
    for row in order[:MOST_FILES]:
        file = files[int(row)]
        if opened and read + file.size > MOST_BYTES:
            break
        opened, read = opened + 1, read + max(file.size, 0)
        try:
            pixels = decode(root / file.path, THUMBNAIL, channels=3)
            sizes.append(_size(root / file.path))
            coloured = coloured or bool(np.ptp(pixels.astype(np.int16), axis=0).max() >= COLOURED)
        except Unreadable as error:
            broken.append((shown_name(file.path), error.reason))
    empty = files.sizes.count(0)
    return ImageSample(opened, np.array(sizes).reshape(-1, 2), coloured, tuple(broken), empty, opened == len(files))


def _size(path: Path) -> tuple[int, int]:
    """Height and width as shown: turned where the EXIF tag says so."""
    warnings_ = warnings.catch_warnings(action="ignore")  # who decodes it for a study tells what decoders warn of
    with warnings_, Image.open(path) as image:
        turned = False
        with suppress(Exception):  # readers of metadata raise anything on broken bytes; the pixels are well
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        return (image.width, image.height) if turned else (image.height, image.width)


def file_copies(root: Path, files: ImageFiles) -> tuple[list[list[int]], bool]:
    """Return groups of rows whose files are the same to the byte, and whether all that may be were looked at.

    Only files of one size are read, and no more than some 200 MB of them.
    """
    by_size: dict[int, list[int]] = defaultdict(list)
    for row, size in enumerate(files.sizes):
        by_size[size].append(row)
    groups: dict[bytes, list[int]] = defaultdict(list)
    left = MOST_BYTES
    for size, rows in sorted(by_size.items()):
        if size <= 0 or len(rows) < 2:
            continue
        if (left := left - size * len(rows)) < 0:
            return [rows for rows in groups.values() if len(rows) > 1], False
        for row in rows:
            try:
                content = (root / files.paths[row]).read_bytes()
            except OSError:  # it is named when it is decoded
                continue
            groups[hashlib.blake2b(content, digest_size=16).digest()].append(row)
    return [rows for rows in groups.values() if len(rows) > 1], True
