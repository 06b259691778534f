"""What readers check of their options in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlcompare.errors import InvalidValueError

__all__ = ["checked_flag", "checked_names", "checked_path"]


def checked_path(path: object, *, place: str) -> Path:
    """Return the path that an option gives as text; `~` is the user's home.

    >>> checked_path("photographs", place="image_folder").name
    'photographs'
    """
    if not isinstance(path, str | Path) or not str(path):
        raise InvalidValueError("`path` must be text", value=f"path={path!r}", place=place)
    return Path(path).expanduser()


def checked_flag(name: str, value: object, *, place: str) -> bool:
    """Return an option that is on or off."""
    if not isinstance(value, bool):
        raise InvalidValueError(f"`{name}` must be true or false", value=repr(value), place=place)
    return value


def checked_names(name: str, value: object, *, place: str) -> tuple[str, ...]:
    """Return an option that lists names.

    >>> checked_names("ignore", ["Unnamed: 0", "id"], place="features")
    ('Unnamed: 0', 'id')
    """
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(item, str) for item in value):
        cure = 'quote names that hold a colon, such as ["Unnamed: 0"]'
        raise InvalidValueError(f"`{name}` must be a list of names", value=repr(value), cure=cure, place=place)
    return tuple(value)
