"""Columns that are no features, most likely: row numbers, identifiers, and what tells the class by itself."""

from __future__ import annotations

import json
import re

import numpy as np

__all__ = ["suspicion", "suspicions"]

INDEX_NAME = re.compile(r"(unnamed: ?\d+|index|level_\d+|(row_?)?(id|idx)|.*[ _.-](id|idx))", re.IGNORECASE)
FEWEST = 8  # rows below which an order may well be chance
SHOWN = 5


def suspicion(name: str, values: np.ndarray, labels: np.ndarray) -> str | None:
    """Return why a column ``(N,)`` is hardly a feature of samples of ``labels (N,)``, or None.

    >>> suspicion("Unnamed: 0", np.arange(12.0), np.repeat([0, 1, 2], 4))
    'counts the rows'
    >>> suspicion("width", np.arange(12.0) * 0.1, np.tile([0, 1, 2], 4)) is None
    True
    """
    whole = bool((values == np.trunc(values)).all())
    if len(values) < 2 or not np.isfinite(values).all() or values.min() == values.max():
        return None
    if whole:
        different = len(np.unique(values)) == len(values)
        steps = np.diff(values)
        if different and len(values) >= FEWEST and ((steps > 0).all() or (steps < 0).all()):
            return "counts the rows"
        if different and len(values) >= FEWEST and _parts_classes(values, labels):
            return "has the classes one after the other"
        if INDEX_NAME.fullmatch(name):
            return "is called like an identifier"
    return "tells the classes apart by itself" if _is_the_label(values, labels) else None


def suspicions(found: list[tuple[str, str]], *, options: bool = True) -> list[str]:
    """Say which columns look like no features, one sentence for each reason.

    Args:
        found: column and reason.
        options: whether the reader can leave columns out by name.
    """
    sentences = []
    for reason in dict.fromkeys(reason for _, reason in found):
        names = [name for name, why in found if why == reason]
        listed = ", ".join(f"`{name}`" for name in names[:SHOWN])
        listed += f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        cure = f"ignore: {json.dumps(names[:SHOWN], ensure_ascii=False)} leaves it out" if options else "drop it"
        sentences.append(f"{listed} {reason} and is read as a feature: if it is none, {cure}")
    return sentences


def _parts_classes(values: np.ndarray, labels: np.ndarray) -> bool:
    """Whether the classes, several and of several samples, follow one another when the rows are sorted by it."""
    ordered = labels[np.argsort(values)]
    changes, classes = int((np.diff(ordered) != 0).sum()), len(np.unique(labels))
    return 1 < classes <= len(labels) // 2 and changes == classes - 1


def _is_the_label(values: np.ndarray, labels: np.ndarray) -> bool:
    """Whether it has one value in each class, and another one in each."""
    one = values[labels == labels[0]]
    if (one != one[0]).any():  # nearly every feature ends here
        return False
    classes, first, counts = np.unique(labels, return_index=True, return_counts=True)
    if len(classes) < 2 or counts.max() < 2 or len(labels) < FEWEST:
        return False
    of_class = values[first]
    places = np.searchsorted(classes, labels)
    return len(np.unique(of_class)) == len(classes) and bool((of_class[places] == values).all())
