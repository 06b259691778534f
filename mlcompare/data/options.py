"""What readers check of their options in the same way."""

from __future__ import annotations

from pathlib import Path

from mlcompare.errors import InvalidValueError

__all__ = ["checked_flag", "checked_path"]


def checked_path(path: object, *, place: str) -> Path:
    """Return the path that an option gives as text.

    >>> checked_path("photographs", place="image_folder").name
    'photographs'
    """
    if not isinstance(path, str | Path) or not str(path):
        raise InvalidValueError("`path` must be text", value=f"path={path!r}", place=place)
    return Path(path)


def checked_flag(name: str, value: object, *, place: str) -> bool:
    """Return an option that is on or off."""
    if not isinstance(value, bool):
        raise InvalidValueError(f"`{name}` must be true or false", value=repr(value), place=place)
    return value
