"""Features of frozen encoders: a table of numbers with a label for each row."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from mlcompare.data.dataset import Dataset, register_dataset
from mlcompare.data.labels import checked_split, encode_labels
from mlcompare.data.npz import read_npz
from mlcompare.data.options import checked_path
from mlcompare.errors import DataError, InvalidValueError

__all__ = ["features"]

MATRIX = ("embeddings", "features")


@register_dataset("features")
def features(path: str) -> Dataset:
    """Features from a file: .npz (`embeddings` or `features`, and `labels`) or .parquet (numbers, and `label`).

    Either may also hold `split` (train, validation, test). In a table every other column is a feature.

    Args:
        path: the file.

    Raises:
        InvalidValueError: the path is not text, or of another type than .npz and .parquet.
        DataError: the file is missing, broken, or lacks something.
    """
    file, place = checked_path(path, place="features"), f"features: {path}"
    kind = file.suffix.lower()
    if kind not in (".npz", ".parquet"):
        raise InvalidValueError("`path` must end in .npz or .parquet", value=repr(file.name), place=place)
    if not file.is_file():
        raise DataError("the file must exist", value="a folder" if file.is_dir() else "nothing there", place=place)
    matrix, values, split = (_from_npz if kind == ".npz" else _from_parquet)(file, place)
    samples = _as_float32(matrix, place)
    labels, names = encode_labels(values, place=place)
    if len(labels) != len(samples):
        raise DataError("labels must be one for each row", value=f"{len(labels)} for {len(samples)} rows", place=place)
    official = None if split is None else checked_split(split, len(samples), place=place)
    try:
        return Dataset("features", samples, labels, names, split=official)
    except DataError as error:
        raise type(error)(error.rule, value=error.value, cure=error.cure, place=place) from None


def _as_float32(matrix: np.ndarray, place: str) -> np.ndarray:
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiub" or matrix.shape[1] == 0:
        got = f"{matrix.dtype} {matrix.shape}"
        raise DataError(
            "features must be numbers (N, F)", value=got, cure="flatten each sample to one row", place=place
        )
    with np.errstate(over="ignore"):  # what overflows is infinite, and refused as such
        return np.ascontiguousarray(matrix, dtype=np.float32)


def _from_npz(file: Path, place: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    arrays = read_npz(file, (*MATRIX, "labels", "split"), place=place)
    found = [name for name in MATRIX if name in arrays]
    if len(found) != 1 or "labels" not in arrays:
        rule = "the file must hold `labels`, and either `embeddings` or `features`"
        cure = "write it with np.savez(path, embeddings=…, labels=…)"
        raise DataError(rule, value=", ".join(sorted(arrays)) or "none of them", cure=cure, place=place)
    return arrays[found[0]], arrays["labels"], arrays.get("split")


def _from_parquet(file: Path, place: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(file).read(use_threads=False)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError("the file must be a whole .parquet", value=reason, place=place) from None
    names = [name for name in table.column_names if not re.fullmatch(r"__index_level_\d+__", name)]
    if len(set(names)) < len(names):
        raise DataError("each column must have a name of its own", value=", ".join(names), place=place)
    if "label" not in names:
        cure = "name the column of labels `label`"
        raise DataError("the table must have a column `label`", value=", ".join(names[:20]), cure=cure, place=place)
    columns = [name for name in names if name not in ("label", "split", "names")]  # names: as `embed` writes them
    for name in columns:
        kind = table.schema.field(name).type
        if not (pyarrow.types.is_floating(kind) or pyarrow.types.is_integer(kind) or pyarrow.types.is_boolean(kind)):
            rule = "every column but `label` and `split` must be a number"
            raise DataError(rule, value=f"`{name}` of {kind}", cure=f"drop `{name}` from the table", place=place)
    matrix = np.empty((table.num_rows, len(columns)), np.float32)
    with np.errstate(over="ignore"):
        for position, name in enumerate(columns):
            matrix[:, position] = table[name].to_numpy()
    split = table["split"].to_numpy() if "split" in names else None
    return matrix, np.array(table["label"].to_pylist(), dtype=object), split
