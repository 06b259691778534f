"""What lies in folders: names, sizes and times, of a million files too.

Asking for sizes and times takes longer than all else. The files of all folders are asked for in the order in which the
disk keeps what it knows of them (their inodes), not folder by folder: a disk that has to be read is read once, from
front to back. Several threads ask at once, through Arrow: Python's own ``os.stat`` holds its lock for most of the time.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from operator import attrgetter

import numpy as np

__all__ = ["Listing", "listings"]

THREADS = 2
AT_ONCE = 5000  # files that a thread asks for in one call; fewer than that in all are not worth importing Arrow
GONE = (-1, 0, False)  # size, time and whether it is a folder, of a link to nothing
NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


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


def listings(folders: Sequence[str]) -> list[Listing]:
    """Return what lies in each of the folders.

    Raises:
        OSError: one can't be listed.
    """
    names, paths, inodes = [], [], []
    for folder in folders:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=attrgetter("name"))
        names.append([entry.name for entry in listed])
        paths += [entry.path for entry in listed]
        inodes += [entry.inode() for entry in listed]
    order = np.argsort(np.array(inodes, dtype=np.uint64), kind="stable")
    about = np.empty((3, len(paths)), dtype=np.int64)
    about[:, order] = _about([paths[row] for row in order.tolist()])
    ends = np.cumsum([len(of) for of in names], dtype=np.int64)
    return [_listing(of, about[:, end - len(of) : end]) for of, end in zip(names, ends.tolist())]


def _listing(names: list[str], about: np.ndarray) -> Listing:
    sizes, modified, folders = about
    return Listing(names, sizes.tolist(), modified.tolist(), folders.astype(bool).tolist())


def _about(paths: list[str]) -> np.ndarray:
    """Return columns ``(3, N)`` of what the system says of each path, which is asked for in the order given."""
    if len(paths) < AT_ONCE:
        return _plainly(paths)
    parts = [paths[start : start + AT_ONCE] for start in range(0, len(paths), AT_ONCE)]
    with ThreadPoolExecutor(THREADS) as threads:
        return np.concatenate(list(threads.map(_by_arrow, parts)), axis=1)


def _by_arrow(paths: list[str]) -> np.ndarray:
    from pyarrow.fs import LocalFileSystem

    try:
        found = LocalFileSystem().get_file_info(paths)
    except (OSError, ValueError):  # names that are no UTF-8, paths that look like addresses; and what can't be read
        return _plainly(paths)
    sizes = [one.size for one in found]
    if None in sizes:  # a folder, a link to nothing, a socket
        return _plainly(paths)
    return np.array([sizes, [one.mtime_ns for one in found], [False] * len(found)], dtype=np.int64)


def _plainly(paths: list[str]) -> np.ndarray:
    return np.array([_plain(path) for path in paths], dtype=np.int64).reshape(-1, 3).T


def _plain(path: str) -> tuple[int, int, bool]:
    try:
        about = os.stat(path)
    except OSError as error:
        if error.errno in NOWHERE:
            return GONE
        raise
    is_folder = stat.S_ISDIR(about.st_mode)
    return 0 if is_folder else about.st_size, about.st_mtime_ns, is_folder
