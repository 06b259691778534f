"""What every metric starts from: checked labels, float64 unit vectors, and cosines in which ties are ties.

A cosine is computed in float64 and rounded to a multiple of 2⁻³² (2.3e-10): a hundred thousand times coarser than the
rounding of its sum, a hundred times finer than a float32. So similarities that are equal on paper compare equal, and a
metric does not depend on chunk size, thread count, device or the order of the samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from mlcompare.errors import InvalidValueError

__all__ = ["GRID", "Samples", "Values", "as_labels", "cosines", "normalized_samples", "select", "unit_vectors"]

GRID = 2.0**-32  # cosines are multiples of this
ROWS = 4096  # normalised at a time: the temporaries stay small
Values = torch.Tensor | npt.ArrayLike  # what a metric is given: torch, numpy or lists


@dataclass(frozen=True)
class Samples:
    """Checked embeddings of ``N`` samples.

    Attributes:
        vectors: ``(N, D)`` float64 unit vectors (a zero embedding stays zero).
        codes: ``(N,)`` int64, the class of each sample as an index into ``classes``.
        classes: the distinct labels, sorted.
    """

    vectors: torch.Tensor
    codes: torch.Tensor
    classes: np.ndarray

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, index: torch.Tensor | slice) -> Samples:
        """Return the samples at ``index``; the classes keep their codes."""
        return Samples(self.vectors[index], self.codes[index], self.classes)

    def grouped(self, groups: Values, *, place: str) -> Samples:
        """Return the samples with ``groups (N,)`` in the place of their classes.

        Raises:
            InvalidValueError: another number of them, or one group alone.
        """
        classes, codes = _coded(groups, len(self), place)
        return Samples(self.vectors, codes.to(self.codes.device), classes)

    def first(self, dims: int) -> Samples:
        """Return the samples by their first coordinates (all of them where there are fewer), normalised again."""
        return Samples(unit_vectors(self.vectors[:, :dims]), self.codes, self.classes)


def normalized_samples(
    embeddings: Values, labels: Values, *, device: torch.device | str | None = None, place: str = "evaluate_embeddings"
) -> Samples:
    """Check ``embeddings (N, D)`` and ``labels (N,)`` (torch, numpy or lists) and return :class:`Samples`.

    Raises:
        InvalidValueError: not a matrix, another number of labels, NaN or infinity, or fewer than two classes.

    >>> normalized_samples([[3.0, 4.0], [0.0, 2.0]], ["a", "b"]).vectors.tolist()
    [[0.6, 0.8], [0.0, 1.0]]
    """
    vectors = unit_vectors(embeddings, device=device, place=place)
    classes, codes = _coded(labels, len(vectors), place)
    return Samples(vectors, codes.to(vectors.device), classes)


def _coded(labels: Values, count: int, place: str) -> tuple[np.ndarray, torch.Tensor]:
    """Return the distinct labels, sorted, and each sample's index among them ``(N,)``."""
    values = as_labels(labels, count, place=place)
    classes, codes = np.unique(values, return_inverse=True)
    if len(classes) < 2:
        raise InvalidValueError(
            "at least two classes are needed", value=f"{len(classes)} in {len(values)} samples", place=place,
            cure="with one class every ranking is perfect and says nothing",
        )  # fmt: skip
    return classes, torch.as_tensor(codes.reshape(-1), dtype=torch.int64)


def unit_vectors(
    embeddings: Values, *, device: torch.device | str | None = None, place: str = "embeddings"
) -> torch.Tensor:
    """Return float64 unit vectors ``(N, D)``; a zero vector stays zero (cosine 0 to all)."""
    if not isinstance(embeddings, torch.Tensor):
        embeddings = torch.as_tensor(np.asarray(embeddings))
    if embeddings.ndim != 2 or 0 in embeddings.shape:
        raise InvalidValueError("embeddings must have shape (N, D)", value=str(tuple(embeddings.shape)), place=place)
    if embeddings.is_complex():
        raise InvalidValueError("embeddings must be real numbers", value=str(embeddings.dtype), place=place)
    embeddings = embeddings.detach().to(device or embeddings.device)
    if embeddings.device.type == "mps":  # no float64 there
        embeddings = embeddings.cpu()
    result = torch.empty(embeddings.shape, dtype=torch.float64, device=embeddings.device)
    for start in range(0, len(result), ROWS):
        rows = embeddings[start : start + ROWS].to(torch.float64)  # (b, D)
        _check_finite(rows, start, place)
        largest = rows.abs().amax(dim=1, keepdim=True)
        rows = rows / torch.where(largest > 0, largest, 1.0)  # squares can't overflow now
        norm = rows.norm(dim=1, keepdim=True)
        result[start : start + ROWS] = rows / torch.where(norm > 0, norm, 1.0)
    return result


def cosines(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return the cosines ``(b, n)`` of unit vectors ``(b, D)`` and ``(n, D)``, rounded to multiples of :data:`GRID`."""
    return (left @ right.T).div_(GRID).round_().mul_(GRID)


def _check_finite(rows: torch.Tensor, start: int, place: str) -> None:
    bad = ~torch.isfinite(rows).all(dim=1)
    if bad.any():
        raise InvalidValueError(
            "embeddings must be finite", value=f"NaN or infinity in row {start + int(bad.nonzero()[0])}", place=place,
            cure="a diverged training leaves these: lower the learning rate, or drop the run",
        )  # fmt: skip


def as_labels(labels: Values, length: int, *, place: str = "labels") -> np.ndarray:
    """Return ``labels`` as a 1-D numpy array (numbers or strings) of ``length`` entries."""
    values = labels.detach().cpu().numpy() if isinstance(labels, torch.Tensor) else np.asarray(labels)
    if values.ndim != 1 or len(values) != length:
        raise InvalidValueError(
            "labels must have one entry for each embedding", value=f"shape {values.shape} for {length}", place=place
        )
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InvalidValueError("labels must be finite", value="NaN or infinity", place=place)
    return values.astype(str) if values.dtype.kind == "O" else values


def select(chosen: Values | None, length: int, *, place: str) -> np.ndarray:
    """Turn indices or a boolean mask over ``length`` samples into an index array; ``None`` means all of them.

    >>> select([False, True, True], 3, place="query")
    array([1, 2])
    """
    if chosen is None:
        return np.arange(length)
    index = chosen.detach().cpu().numpy() if isinstance(chosen, torch.Tensor) else np.asarray(chosen)
    if index.dtype == bool and index.shape == (length,):
        index = np.flatnonzero(index)
    if index.ndim != 1 or len(index) == 0 or index.dtype.kind not in "iu":
        raise InvalidValueError(
            "must be non-empty indices, or a boolean mask over the samples", value=f"{index.dtype} {index.shape}",
            place=place,
        )  # fmt: skip
    if index.min() < 0 or index.max() >= length or len(np.unique(index)) != len(index):
        raise InvalidValueError(
            f"indices must be distinct and in [0, {length})", value=f"{index.min()} to {index.max()}", place=place
        )
    return index.astype(np.int64)
