"""What is registered, kept from one command to the next: to find it out takes torch, and that longer than a listing."""

from __future__ import annotations

import hashlib
import importlib.metadata
import pickle
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlcompare
from mlcompare.files import make_folder, user_cache, write_atomically
from mlcompare.registry import Registry

__all__ = ["kept_records"]


def kept_records(registry: Registry[Any]) -> list[Any]:
    """Return a registry's records to be read: their factories are left out.

    They are kept in the user's cache folder for as long as no source file of this package changes. Where a plug-in is
    installed, or something was registered in this process, the registry is asked.
    """
    group = f"{mlcompare.__name__}.{registry.plural}"
    if registry.written_here() or importlib.metadata.entry_points(group=group):
        return registry.records()
    path = user_cache() / "registered" / f"{registry.plural}-{_sources()}.pickle"
    with suppress(Exception):  # none is kept, or what is kept can't be read: it is made anew
        return list(pickle.loads(path.read_bytes()))
    records = registry.records()
    with suppress(Exception):  # what can't be pickled (a function inside another) or written isn't kept
        data = pickle.dumps([replace(record, factory=_left_out) for record in records])
        make_folder(path.parent)
        for old in path.parent.glob(f"{registry.plural}-*.pickle"):
            old.unlink(missing_ok=True)
        write_atomically(path, data)
    return records


def _left_out(**_options: Any) -> None:
    """Stand for the factory of a kept record."""


def _sources() -> str:
    """Name the state of this package's source files, and of Python."""
    folder = Path(mlcompare.__file__).parent
    files = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(folder.rglob("*.py"))]
    return hashlib.sha256(repr((sys.version, files)).encode()).hexdigest()[:32]
