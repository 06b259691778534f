"""A path that leads nowhere, beside what was meant: backslashes, blanks, Unicode forms and cases are slips."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

__all__ = ["hint", "nearby", "nothing_there"]

MOST_ENTRIES = 100_000  # of a folder that are looked through


def nearby(path: str | Path, root: str | Path = ".") -> str | None:
    """Return the path that exists and differs from ``path`` by slips of typing alone, or None.

    Slips are backslashes for slashes, blanks at either end of a name, another Unicode form, and another case.

    Args:
        root: what a relative path is relative to.
    """
    text = str(path)
    if not text.strip() or "\0" in text:
        return None
    for written in dict.fromkeys((text, text.strip(), text.replace("\\", "/"), text.replace("\\", "/").strip())):
        found = _found(os.path.expanduser(written), str(root))
        if found is not None and found != text:
            return found
    return None


def hint(path: str | Path, root: str | Path = ".") -> str | None:
    """Return a sentence that names what :func:`nearby` found, or None."""
    found = nearby(path, root)
    if found is None:
        return None
    alike = unicodedata.normalize("NFC", found) == unicodedata.normalize("NFC", str(path))
    form = f" (in another Unicode form: {found!a}, not {str(path)!a})" if alike else ""
    return f"did you mean {found!r}?{form}"


def nothing_there(path: str | Path, cure: str | None = None) -> dict[str, str | None]:
    """Return value and cure of an error about a path that does not exist.

    >>> nothing_there("/no/where", "check the path")
    {'value': 'nothing there', 'cure': 'check the path'}
    """
    return {"value": "nothing there", "cure": hint(path) or cure}


def _found(written: str, root: str) -> str | None:
    """Follow a path name by name, each as it is or as its likeness in the folder."""
    absolute = os.path.isabs(written)
    here, parts = os.path.sep if absolute else root, []
    for name in written.split("/"):
        if name in ("", ".", ".."):
            parts += [name] if name == ".." else []
            here = os.path.join(here, name)
            continue
        real = name if os.path.lexists(os.path.join(here, name)) else _alike(here, name)
        if real is None:
            return None
        parts.append(real)
        here = os.path.join(here, real)
    return ("/" if absolute else "") + "/".join(parts)


def _alike(folder: str, name: str) -> str | None:
    wanted = _plain(name)
    try:
        with os.scandir(folder) as entries:
            alike = sorted(e.name for _, e in zip(range(MOST_ENTRIES), entries) if _plain(e.name) == wanted)
    except OSError:
        return None
    return alike[0] if alike else None


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip().casefold()
