"""What was met while many files were read, counted by kind, with the name of one file of each."""

from __future__ import annotations

import os
import re

__all__ = ["Counted", "shown_name"]

SHOWN = 8


def shown_name(path: str) -> str:
    """Return a file's name as text that can be printed, whatever its bytes are."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


class Counted:
    """Kinds of findings, how many files of each, and the first file of each; numbers in a kind don't part kinds.

    >>> met = Counted()
    >>> met.add("image of 3 pixels", "a.png"); met.add("image of 4 pixels", "b.png"); met.add("odd", "c.png")
    >>> met.total, met.listed()
    (3, '2 × image of 3 pixels: a.png, …; 1 × odd: c.png')
    """

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = {}
        self._texts: dict[str, str] = {}

    def add(self, kind: str, file: str) -> None:
        """Count one file of a kind."""
        key = re.sub(r"\d+", "0", kind)
        self._texts.setdefault(key, kind)
        self._found.setdefault(key, []).append(file)

    @property
    def total(self) -> int:
        """How many findings there are."""
        return sum(map(len, self._found.values()))

    def listed(self) -> str:
        """Name the kinds, the most frequent first."""
        most = sorted(self._found.items(), key=lambda item: (-len(item[1]), item[0]))
        parts = [
            f"{len(files)} × {self._texts[key]}: {shown_name(files[0])}{', …' * (len(files) > 1)}"
            for key, files in most[:SHOWN]
        ]
        return "; ".join(parts) + (f"; and {len(most) - SHOWN} kinds more" if len(most) > SHOWN else "")
