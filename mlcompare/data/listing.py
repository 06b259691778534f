"""What lies in a folder: names, sizes and times, asked of the system by several threads at once.

Of a million files, asking takes longer than all else. Python's own ``os.stat`` holds its lock for most of that time, so
threads don't help it; Arrow lists a whole folder without the lock.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

__all__ = ["Listing", "listings"]

THREADS = 2


@dataclass(frozen=True)
class Listing:
    """The entries of a folder in the order of their names.

    Attributes:
        sizes: in bytes; 0 of a folder, -1 of a link to nothing.
        modified: when each was changed, in ns; 0 of a link to nothing.
        folders: whether each is one, or a link to one.
    """

    names: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    modified: list[int] = field(default_factory=list)
    folders: list[bool] = field(default_factory=list)


def listings(folders: Sequence[str]) -> Iterator[Listing]:
    """Yield what lies in each of the folders.

    Raises:
        OSError: one can't be listed.
    """
    with ThreadPoolExecutor(THREADS) as threads:
        yield from threads.map(_listing, folders)


def _listing(folder: str) -> Listing:
    from pyarrow.fs import FileSelector, FileType, LocalFileSystem

    try:
        found = [(one.base_name, one) for one in LocalFileSystem().get_file_info(FileSelector(folder))]
    except (OSError, ValueError):  # names that are no UTF-8, paths that look like addresses; and what can't be read
        return _plain_listing(folder)
    if len(found) != len(os.listdir(folder)):  # Arrow leaves out links to nothing
        return _plain_listing(folder)
    found.sort()
    files = [one for _, one in found]
    return Listing(
        [name for name, _ in found],
        [one.size or 0 for one in files],
        [one.mtime_ns for one in files],
        [one.size is None and one.type == FileType.Directory for one in files],
    )


def _plain_listing(folder: str) -> Listing:
    found = Listing(sorted(os.listdir(folder)))
    for name in found.names:
        try:
            about = os.stat(os.path.join(folder, name))
        except FileNotFoundError:
            size, modified, is_folder = -1, 0, False
        else:
            is_folder = stat.S_ISDIR(about.st_mode)
            size, modified = 0 if is_folder else about.st_size, about.st_mtime_ns
        found.sizes.append(size)
        found.modified.append(modified)
        found.folders.append(is_folder)
    return found
