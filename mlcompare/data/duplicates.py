"""Exact duplicates: the same pixels or features in two classes, or on both sides of the seal."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlcompare.data.dataset import Dataset

__all__ = ["Duplicates", "contents", "find_duplicates"]

MOST_BYTES = 4 << 30  # that are read for it; a larger set is not searched
SHOWN = 3  # groups that are named


@dataclass(frozen=True)
class Duplicates:
    """Groups of rows with the same content: of several classes, and on both sides of the seal."""

    across_classes: tuple[tuple[int, ...], ...]
    across_seal: tuple[tuple[int, ...], ...]
    searched: bool = True  # or too many to search

    def sentences(self, dataset: Dataset) -> list[str]:
        """Say how many there are, and name the first ones; nothing where there are none."""
        if not self.searched:
            return ["the samples are too many to look for duplicates among them"]
        told = ((self.across_classes, "in more than one class"), (self.across_seal, "both sealed and not"))
        return [_sentence(groups, where, dataset) for groups, where in told if groups]


def contents(dataset: Dataset) -> np.ndarray | None:
    """Return a hash of each sample's content, ``(N,)`` uint64: equal samples, equal hashes. ``None`` for a large set.

    >>> found = contents(Dataset("tiny", np.float32([[1], [2], [1]]), np.array([0, 0, 0]), ("a",)))
    >>> found[0] == found[2], found[0] == found[1]
    (np.True_, np.False_)
    """
    if dataset.samples.nbytes > MOST_BYTES:
        return None
    found = np.empty(len(dataset), dtype=np.uint64)
    for row in range(len(dataset)):
        content = np.ascontiguousarray(dataset.samples[row])
        found[row] = int.from_bytes(hashlib.blake2b(content.data, digest_size=8).digest(), "little")
    return found


def find_duplicates(dataset: Dataset, sealed: np.ndarray) -> Duplicates:
    """Return the exact duplicates that tell the classes, or the sealed rows, apart wrongly.

    Args:
        sealed: the rows that no training may see.

    >>> samples = np.array([[1.0], [2.0], [1.0], [2.0]], dtype=np.float32)
    >>> data = Dataset("tiny", samples, np.array([0, 0, 1, 0]), ("a", "b"))
    >>> find_duplicates(data, np.array([3]))
    Duplicates(across_classes=((0, 2),), across_seal=((1, 3),), searched=True)
    """
    found = contents(dataset)
    if found is None:
        return Duplicates((), (), searched=False)
    rows: dict[int, list[int]] = {}
    for row, content in enumerate(found.tolist()):
        rows.setdefault(content, []).append(row)
    hidden = np.zeros(len(dataset), dtype=bool)
    hidden[sealed] = True
    groups = [tuple(group) for group in rows.values() if len(group) > 1]
    return Duplicates(
        tuple(group for group in groups if len(set(dataset.labels[list(group)].tolist())) > 1),
        tuple(group for group in groups if 0 < hidden[list(group)].sum() < len(group)),
    )


def _sentence(groups: Sequence[tuple[int, ...]], where: str, dataset: Dataset) -> str:
    counted = "1 sample stands" if len(groups) == 1 else f"{len(groups)} samples stand"
    named = "; ".join(" = ".join(dataset.name_of(row) for row in group[:4]) for group in groups[:SHOWN])
    more = f"; and {len(groups) - SHOWN} more" if len(groups) > SHOWN else ""
    return f"{counted} {where}: {named}{more}"
