"""A teacher's embeddings: a row for each sample of a dataset, in its order, from a file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from mlcompare.data.dataset import Dataset
from mlcompare.data.hints import nothing_there
from mlcompare.data.npz import read_npz
from mlcompare.errors import DataError, InvalidValueError

__all__ = ["read_teacher", "teacher_hash"]

MATRIX = ("embeddings", "features")


def read_teacher(path: str, dataset: Dataset) -> np.ndarray:
    """Return the embeddings ``(N, T)`` of a dataset's samples, float32, from a .npy, or an .npz as ``embed`` writes it.

    An .npz holds `embeddings` or `features`; where it holds `labels` too, they must part the rows as the dataset's
    classes do: another order of the rows would teach nonsense.

    Raises:
        InvalidValueError: no path, or another type of file.
        DataError: the file is missing or broken, has another number of rows, or numbers that are not finite.
    """
    place = f"teacher: {path}"
    if not path:
        cure = "write `teacher: FILE`; `mlcompare embed MODEL DATA --out teacher.npz` makes one"
        raise InvalidValueError(
            "distillation needs a teacher's embeddings", value="no file", cure=cure, place="teacher"
        )
    file = Path(path).expanduser()
    if file.is_dir() or file.suffix.lower() not in (".npz", ".npy"):
        cure = "embed the data with the teacher, `mlcompare embed MODEL DATA --out teacher.npz`, or np.save them"
        value = "a folder" if file.is_dir() else repr(file.name)
        raise InvalidValueError("a teacher must be a .npz or .npy of embeddings", value=value, cure=cure, place=place)
    if not file.is_file():
        raise DataError("the file must exist", place=place, **nothing_there(file))
    matrix, labels = _read(file, place)
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu" or matrix.shape[1] == 0:
        got = f"{matrix.dtype} {matrix.shape}"
        raise DataError("a teacher's embeddings must be numbers (N, T)", value=got, place=place)
    if len(matrix) != len(dataset):
        value, cure = f"{len(matrix)} rows for {len(dataset)} samples", "embed the dataset as it is read, in its order"
        raise DataError("a teacher must have a row for each sample", value=value, cure=cure, place=place)
    if labels is not None:
        _check_order(labels, dataset, place)
    with np.errstate(over="ignore"):  # what overflows is infinite, and refused as such
        rows = np.ascontiguousarray(matrix, dtype=np.float32)
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        value = f"NaN or inf in {len(bad)} rows, the first {bad[0]}"
        raise DataError("a teacher's embeddings must be finite", value=value, place=place)
    return rows


def teacher_hash(embeddings: np.ndarray) -> str:
    """Return what names a teacher's embeddings, wherever they lie."""
    digest = hashlib.sha256(repr(embeddings.shape).encode())
    digest.update(np.ascontiguousarray(embeddings).data)
    return digest.hexdigest()


def _read(file: Path, place: str) -> tuple[np.ndarray, np.ndarray | None]:
    if file.suffix.lower() == ".npy":
        try:
            return np.load(file, allow_pickle=False), None
        except (OSError, ValueError, EOFError) as error:
            value = f"{type(error).__name__}: {error}".splitlines()[0]
            raise DataError("the file must be an array that np.save wrote", value=value, place=place) from None
    arrays = read_npz(file, (*MATRIX, "labels"), place=place)
    found = [name for name in MATRIX if name in arrays]
    if len(found) != 1:
        cure = "write it with np.savez(path, embeddings=…)"
        value = ", ".join(sorted(arrays)) or "none of them"
        raise DataError("the file must hold either `embeddings` or `features`", value=value, cure=cure, place=place)
    labels = arrays.get("labels")
    return arrays[found[0]], labels if labels is not None and labels.ndim == 1 else None


def _check_order(labels: np.ndarray, dataset: Dataset, place: str) -> None:
    """Refuse labels that don't part the rows as the dataset does, whatever the classes are called."""
    if len(labels) != len(dataset):
        value = f"{len(labels)} labels for {len(dataset)} samples"
        raise DataError("a teacher's labels must be one for each row", value=value, place=place)
    theirs = np.unique(labels, return_inverse=True)[1].reshape(-1)
    for one, other in ((theirs, dataset.labels), (dataset.labels, theirs)):
        values, first = np.unique(one, return_index=True)
        expected = other[first][np.searchsorted(values, one)]  # (N,): what goes with a row's label elsewhere
        for row in np.flatnonzero(other != expected)[:1]:
            value = f"row {row} is {labels[row]} there and {dataset.class_names[dataset.labels[row]]} here"
            cure = "embed the dataset as it is read, in its order"
            raise DataError("a teacher's rows must be in the dataset's order", value=value, cure=cure, place=place)
