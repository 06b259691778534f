"""Columns that are no features, most likely: row numbers, identifiers, and what tells the class by itself."""

from __future__ import annotations

import json
import re

import numpy as np

__all__ = ["Suspects"]

INDEX_NAME = re.compile(r"(unnamed: ?\d+|index|level_\d+|(row_?)?(id|idx)|.*[ _.-](id|idx))", re.IGNORECASE)
FEWEST = 8  # rows below which an order may well be chance
FIRST = 1000  # rows in which most columns repeat themselves, if they do
SHOWN = 5


class Suspects:
    """Looks at the columns ``(N,)`` of a table for those that are hardly features of samples of ``labels (N,)``.

    >>> suspects = Suspects(np.repeat([0, 1, 2], 4))
    >>> suspects.look("Unnamed: 0", np.arange(12.0)); suspects.look("width", np.linspace(0, 1, 12))
    >>> suspects.sentences()
    ['`Unnamed: 0` counts the rows and is read as a feature: if it is none, ignore: ["Unnamed: 0"] leaves it out']
    """

    def __init__(self, labels: np.ndarray) -> None:
        self._labels = labels
        _, self._first, self._class, counts = np.unique(
            labels, return_index=True, return_inverse=True, return_counts=True
        )
        self._classes, self._several = len(counts), bool(len(counts) > 1 and counts.max() > 1)
        self._found: dict[str, list[str]] = {}

    def look(self, name: str, values: np.ndarray) -> None:
        """Remember a column if it is suspicious."""
        reason = self._reason(name, values)
        if reason:
            self._found.setdefault(reason, []).append(name)

    def _reason(self, name: str, values: np.ndarray) -> str | None:
        if len(values) < 2 or not np.isfinite(values).all() or values.min() == values.max():
            return None
        if (values == np.trunc(values)).all():
            if len(values) >= FEWEST and _all_different(values):
                steps = np.diff(values)
                if (steps > 0).all() or (steps < 0).all():
                    return "counts the rows"
                if self._parts_classes(values):
                    return "has the classes one after the other"
            if INDEX_NAME.fullmatch(name):
                return "is called like an identifier"
        return "tells the classes apart by itself" if len(values) >= FEWEST and self._is_the_label(values) else None

    def _parts_classes(self, values: np.ndarray) -> bool:
        """Whether the classes, several and of several samples, follow one another when the rows are sorted by it."""
        ordered = self._class[np.argsort(values)]
        changes = int((np.diff(ordered) != 0).sum())
        return 1 < self._classes <= len(values) // 2 and changes == self._classes - 1

    def _is_the_label(self, values: np.ndarray) -> bool:
        """Whether it has one value in each class, and another one in each."""
        of_class = values[self._first]
        return self._several and bool((of_class[self._class] == values).all()) and _all_different(of_class)

    @property
    def found(self) -> dict[str, str]:
        """The suspicious columns, and what is said of each."""
        return {name: reason for reason, names in self._found.items() for name in names}

    def sentences(self, *, ignorable: bool = True) -> list[str]:
        """Say which columns look like no features, one sentence for each reason.

        Args:
            ignorable: whether the reader can leave columns out by name.
        """
        said = []
        for reason, names in self._found.items():
            listed = ", ".join(f"`{name}`" for name in names[:SHOWN])
            listed += f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            left_out = f"ignore: {json.dumps(names[:SHOWN], ensure_ascii=False)} leaves it out"
            cure = left_out if ignorable else "drop it"
            said.append(f"{listed} {reason} and is read as a feature: if it is none, {cure}")
        return said


def _all_different(values: np.ndarray) -> bool:
    first = values[:FIRST]
    return len(np.unique(first)) == len(first) and len(np.unique(values)) == len(values)
