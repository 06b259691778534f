"""Files that are whole or not there: written beside their place, brought to the disk, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from platformdirs import user_cache_path

from mlcompare.errors import StoreError

__all__ = ["check_folder", "make_folder", "publish_folder", "user_cache", "whole_file", "write_atomically"]


def user_cache() -> Path:
    """Return the package's own folder in the user's cache folder (``$XDG_CACHE_HOME/mlcompare`` where that is set)."""
    return user_cache_path("mlcompare")


@contextmanager
def whole_file(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that takes its name when the block ends, on the disk to the last byte.

    Where the block fails, nothing is left, and a file that had the name stays as it was.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with whole_file(folder / "a.bin") as file:
    ...     count = file.write(b"all")
    >>> (folder / "a.bin").read_bytes()
    b'all'
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write a whole file or nothing; see :func:`whole_file`."""
    with whole_file(path) as file:
        file.write(data)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, each with its entry on the disk: a power cut must not take it back."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in reversed(missing):
        _sync(folder.parent)


def check_folder(folder: Path, rule: str, *, cure: str, place: str | Path, made: bool = False) -> None:
    """Refuse a folder that nothing can be put into, before time is spent on what goes there.

    Args:
        made: it is made, with those above it, where it is missing.

    Raises:
        StoreError: with the rule, cure and place given.

    >>> check_folder(Path("/nowhere/at/all"), "the file must be writable", cure="name another", place="a.npz")
    Traceback (most recent call last):
    mlcompare.errors.StoreError: a.npz: the file must be writable, got no folder /nowhere/at/all; name another
    """
    folder = folder.expanduser().absolute()
    there = next(known for known in (folder, *folder.parents) if known.exists()) if made else folder
    if not there.is_dir():
        value = f"{there}, which is a file" if there.exists() else f"no folder {there}"
    elif not os.access(there, os.W_OK | os.X_OK):
        value = f"a folder that can't be written, {there}"
    else:
        return
    raise StoreError(rule, value=value, cure=cure, place=str(place))


def publish_folder(built: Path, target: Path) -> None:
    """Give a finished folder its name, with every file in it on the disk.

    Raises:
        OSError: ``target`` exists and is not empty, or the disk is full.
    """
    for path in sorted(built.rglob("*")):
        _sync(path)
    built.replace(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    """Bring a file or a folder's entries to the disk; folders can't be synced everywhere."""
    with suppress(PermissionError if path.is_file() else OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
