"""The manifest of image files: path, size and time of each, in columns, for a folder may hold millions."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

__all__ = ["ImageFile", "ImageFiles"]


@dataclass(frozen=True)
class ImageFile:
    """One line of the manifest: ``path`` is relative to the root of the dataset."""

    path: str
    size: int
    modified: int


class ImageFiles(Sequence[ImageFile]):
    """Files in columns: a list of objects would take the garbage collector seconds for a million of them.

    >>> files = ImageFiles()
    >>> files.extend(["b.png", "a.png"], [None, None])
    >>> files.sorted()[0]
    ImageFile(path='a.png', size=-1, modified=0)
    """

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.sizes: list[int] = []
        self.modified: list[int] = []

    def extend(self, paths: Iterable[str], about: Iterable[os.stat_result | None]) -> None:
        """Append files and what the system says of each; None where it can't say, so that it is named as unreadable."""
        known = list(about)
        self.paths += paths
        self.sizes += [-1 if of is None else of.st_size for of in known]
        self.modified += [0 if of is None else of.st_mtime_ns for of in known]

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, row: int) -> ImageFile: ...

    @overload
    def __getitem__(self, row: slice) -> list[ImageFile]: ...

    def __getitem__(self, row: int | slice) -> ImageFile | list[ImageFile]:
        columns = self.paths[row], self.sizes[row], self.modified[row]
        return list(map(ImageFile, *columns)) if isinstance(row, slice) else ImageFile(*columns)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[ImageFile]:
        return map(ImageFile, self.paths, self.sizes, self.modified)

    def sorted(self) -> ImageFiles:
        """Return the files in the order of their paths."""
        order = sorted(range(len(self)), key=self.paths.__getitem__)
        found = ImageFiles()
        for name in ("paths", "sizes", "modified"):
            setattr(found, name, list(map(getattr(self, name).__getitem__, order)))
        return found

    def content(self) -> bytes:
        """Return bytes that differ where a path, a size or a time does."""
        columns = np.array([self.sizes, self.modified], dtype=np.int64)
        return os.fsencode("\0".join(self.paths)) + b"\0\0" + columns.tobytes()
