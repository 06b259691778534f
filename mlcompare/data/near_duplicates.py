"""Near duplicates: pictures on both sides of the seal that look alike though their pixels differ.

Rescaled, recompressed, noisy or brightened copies keep their thumbnail: cells of 16 × 16, less their mean, at length 1.
Two pictures look alike where the thumbnails correlate almost perfectly.
"""

from __future__ import annotations

import numpy as np

from mlcompare.data.dataset import Dataset
from mlcompare.data.duplicates import MOST_BYTES

__all__ = ["near_duplicate_note", "near_duplicates", "thumbnails"]

ALIKE = 0.99  # correlation of two thumbnails
SIDE = 16  # cells of a thumbnail along each side
PLAIN = 4.0  # grey levels that a thumbnail's cells must vary by: of a plain picture it tells nothing
MOST_PAIRS = 200_000_000  # that are compared, in some seconds; of more the first sealed ones
CHUNK = 1024
SHOWN = 3  # pairs that are named


def near_duplicates(dataset: Dataset, sealed: np.ndarray) -> list[tuple[int, int]]:
    """Return pairs ``(row, sealed row)`` of pictures that look alike and are not the same, in row order.

    Pictures that are almost of one colour are left out, and so are features.

    >>> rng = np.random.default_rng(0)
    >>> pictures = rng.integers(40, 200, (4, 1, 12, 12), dtype=np.uint8)
    >>> pictures[3] = pictures[0] + 10  # brighter
    >>> near_duplicates(Dataset("tiny", pictures, np.arange(4), tuple("abcd")), np.array([2, 3]))
    [(0, 3)]
    """
    if not dataset.is_images or dataset.samples.nbytes > MOST_BYTES:
        return []
    seen, hidden = np.setdiff1d(np.arange(len(dataset)), sealed), _looked_at(dataset, sealed)
    theirs, found = _unit(dataset, hidden), []
    for start in range(0, len(seen), CHUNK):
        rows = seen[start : start + CHUNK]
        alike = np.argwhere(_unit(dataset, rows) @ theirs.T >= ALIKE)
        found += [(int(rows[a]), int(hidden[b])) for a, b in alike]
    return [(a, b) for a, b in found if not np.array_equal(dataset.samples[a], dataset.samples[b])]


def near_duplicate_note(dataset: Dataset, sealed: np.ndarray) -> str | None:
    """Say how many there are, name the first ones, and say how many sealed pictures weren't looked at; or None."""
    found, looked_at = near_duplicates(dataset, sealed), _looked_at(dataset, sealed)
    if not found:
        return None
    named = "; ".join(f"{dataset.name_of(a)} ~ {dataset.name_of(b)}" for a, b in found[:SHOWN])
    counted = "1 pair of pictures looks" if len(found) == 1 else f"{len(found)} pairs of pictures look"
    more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    left = f" (of the first {len(looked_at)} sealed ones)" if len(looked_at) < len(np.unique(sealed)) else ""
    return f"{counted} nearly alike on both sides of the seal{left}: {named}{more}"


def _looked_at(dataset: Dataset, sealed: np.ndarray) -> np.ndarray:
    """The sealed rows that are compared with all others: as many as :data:`MOST_PAIRS` allows."""
    hidden = np.unique(sealed)
    return hidden[: MOST_PAIRS // max(len(dataset) - len(hidden), 1)]


def thumbnails(gray: np.ndarray) -> np.ndarray:
    """Return the means ``(N, SIDE²)`` over the cells of grey pictures ``(N, H, W)``.

    >>> thumbnails(np.ones((1, 5, 7))).shape
    (1, 256)
    """
    rows, columns = (np.linspace(0, size, SIDE + 1) for size in gray.shape[1:])
    return _means_between(_means_between(gray, rows, axis=1), columns, axis=2).reshape(len(gray), -1)


def _unit(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """Thumbnails less their mean at length 1 ``(N, SIDE²)``, 0 of plain pictures; the samples may lie in a file."""
    parts = [np.empty((0, SIDE**2), dtype=np.float32)]
    for start in range(0, len(rows), CHUNK):
        cells = thumbnails(np.asarray(dataset.samples[rows[start : start + CHUNK]]).mean(axis=1, dtype=np.float64))
        cells -= cells.mean(axis=1, keepdims=True)
        spread = cells.std(axis=1, keepdims=True)
        parts.append(np.where(spread < PLAIN, 0.0, cells / np.maximum(spread * SIDE, 1e-12)).astype(np.float32))
    return np.concatenate(parts)


def _means_between(values: np.ndarray, edges: np.ndarray, *, axis: int) -> np.ndarray:
    """Means between edges that may lie within a pixel: differences of the integral, interpolated."""
    values = np.moveaxis(values, axis, -1)
    integral = np.concatenate([np.zeros((*values.shape[:-1], 1)), values.cumsum(axis=-1)], axis=-1)
    pixel = np.minimum(edges.astype(int), values.shape[-1] - 1)
    at = integral[..., pixel] + (edges - pixel) * values[..., pixel]
    return np.moveaxis(np.diff(at, axis=-1) / np.diff(edges), -1, axis)
