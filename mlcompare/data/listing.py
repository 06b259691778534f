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
from itertools import islice

import numpy as np

__all__ = ["Listing", "listings"]

THREADS = 2
AT_ONCE = 5000  # files that a thread asks for in one call; fewer than that in all are not worth importing Arrow
GONE = (-1, 0, False)  # size, time and whether it is a folder, of a link to nothing
NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
About = tuple[int, int, bool]


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
            listed = sorted((entry.name, entry.path, entry.inode()) for entry in entries)
        names.append([name for name, _, _ in listed])
        paths += [path for _, path, _ in listed]
        inodes += [inode for _, _, inode in listed]
    order = np.argsort(np.array(inodes, dtype=np.uint64), kind="stable").tolist()
    about: list[About] = [GONE] * len(paths)
    for row, known in zip(order, _about([paths[row] for row in order])):
        about[row] = known
    rest = iter(about)
    return [_listing(of, list(islice(rest, len(of)))) for of in names]


def _listing(names: list[str], about: list[About]) -> Listing:
    sizes, modified, folders = (list(column) for column in zip(*about)) if about else ([], [], [])
    return Listing(names, sizes, modified, folders)


def _about(paths: list[str]) -> list[About]:
    """Return what the system says of each path, which is asked for in the order given."""
    if len(paths) < AT_ONCE:
        return _plainly(paths)
    parts = [paths[start : start + AT_ONCE] for start in range(0, len(paths), AT_ONCE)]
    with ThreadPoolExecutor(THREADS) as threads:
        return [known for part in threads.map(_by_arrow, parts) for known in part]


def _by_arrow(paths: list[str]) -> list[About]:
    from pyarrow.fs import FileType, LocalFileSystem

    try:
        found = LocalFileSystem().get_file_info(paths)
    except (OSError, ValueError):  # names that are no UTF-8, paths that look like addresses; and what can't be read
        return _plainly(paths)
    gone, folder = FileType.NotFound, FileType.Directory
    return [GONE if one.type == gone else (one.size or 0, one.mtime_ns, one.type == folder) for one in found]


def _plainly(paths: list[str]) -> list[About]:
    return [_plain(path) for path in paths]


def _plain(path: str) -> About:
    try:
        about = os.stat(path)
    except OSError as error:
        if error.errno in NOWHERE:
            return GONE
        raise
    is_folder = stat.S_ISDIR(about.st_mode)
    return 0 if is_folder else about.st_size, about.st_mtime_ns, is_folder
