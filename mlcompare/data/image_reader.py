"""Images read one after another in one way, for training and for embedding, and what there is to say of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from mlcompare.data.counted import Counted, shown_name
from mlcompare.data.hints import hint
from mlcompare.data.images import Unreadable, decode
from mlcompare.errors import DataError

__all__ = ["ImageReader"]

NAMED = 20  # files that can't be decoded


class ImageReader:
    """Reads images below ``root`` as ``(channels, *size)`` uint8, and remembers what could not be read or was odd.

    Args:
        bits: how many bits the values of 16-bit grey have, or a function that finds out where there is such an image.
        max_pixels: how many pixels an image may have; Pillow's limit by default.
    """

    def __init__(
        self, root: Path, size: tuple[int, int], channels: int, *, bits: int | Callable[[], int] = 16,
        max_pixels: int | None = None, resample: Image.Resampling = Image.Resampling.BILINEAR,
    ) -> None:  # fmt: skip
        self._root, self._size, self._channels, self._resample = root, size, channels, resample
        self._given, self._max_pixels = bits, max_pixels
        self._corrupt: list[tuple[str, Unreadable]] = []
        self._left_out, self._warned = Counted(), Counted()
        self._read = 0
        self.bits: int | None = None  # where there was 16-bit grey

    def _depth(self) -> int:
        if self.bits is None:
            self.bits = self._given() if callable(self._given) else self._given
        return self.bits

    def read(self, path: str) -> np.ndarray | None:
        """Return the image at ``path``, relative to the root, or None where it can't be decoded."""
        said: list[str] = []
        try:
            pixels = decode(
                self._root / path, self._size, channels=self._channels, resample=self._resample, bits=self._depth,
                max_pixels=self._max_pixels, said=said,
            )  # fmt: skip
        except Unreadable as error:
            self._corrupt.append((path, error))
            self._left_out.add(error.reason, path)
            return None
        for line in dict.fromkeys(said):
            self._warned.add(line, path)
        self._read += 1
        return pixels

    def check(self, *, skip_corrupt: bool, place: str, options: bool = True) -> None:
        """Refuse what can't be decoded, unless it may be left out and something is left.

        Args:
            options: whether the reader has options for such files.

        Raises:
            DataError: files can't be decoded; the first ones are named with the reason.
        """
        if not self._corrupt or (skip_corrupt and self._read):
            return
        named = "; ".join(f"{shown_name(path)} ({error})" for path, error in self._corrupt[:NAMED])
        named += f"; and {len(self._corrupt) - NAMED} more" if len(self._corrupt) > NAMED else ""
        missing = [path for path, error in self._corrupt if error.reason == "does not exist"]
        rule = f"every image must {'exist' if len(missing) == len(self._corrupt) else 'be readable'}"
        cures = [meant for path in missing[:1] if (meant := hint(path, self._root))]
        if options and any(error.reason.startswith("more pixels") for _, error in self._corrupt):
            cures.append("let larger ones in with max_pixels: …")
        several = "replace them, or leave them out with skip_corrupt: true" if options else "replace or remove them"
        cures.append(several if self._read else "check the files")
        got = f"{len(self._corrupt)} of {len(self._corrupt) + self._read}: {named}"
        raise DataError(rule, value=got, cure="; ".join(cures), place=place)

    def notes(self) -> list[str]:
        """Say what was left out, by reason, what decoders warned of, and what depth 16-bit grey has."""
        notes, count = [], len(self._corrupt)
        if count:
            counted, verb = ("1 file", "was") if count == 1 else (f"{count} files", "were")
            notes.append(f"{counted} that can't be decoded {verb} left out (skip_corrupt): {self._left_out.listed()}")
        if self._warned.total:
            notes.append(f"decoders warned of images that are read all the same: {self._warned.listed()}")
        if self.bits not in (None, 16):
            notes.append(f"16-bit grey images hold values below {2**self.bits} only: they are read as {self.bits} bits")
        return notes
