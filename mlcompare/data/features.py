"""Features of frozen encoders: a table of numbers with a label for each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlcompare.data.arrow_columns import column_labels, column_numbers, expanded_names, read_parquet
from mlcompare.data.dataset import Dataset, register_dataset
from mlcompare.data.hints import nothing_there
from mlcompare.data.labels import encode_labels
from mlcompare.data.levels import groups_of_classes
from mlcompare.data.npz import read_npz
from mlcompare.data.official_columns import is_flag, official_split
from mlcompare.data.options import checked_names, checked_path
from mlcompare.data.suspicious import Suspects
from mlcompare.errors import DataError, InvalidValueError, did_you_mean

__all__ = ["features", "joined_columns"]

MATRIX = ("embeddings", "features")
RESERVED = ("label", "split", "names")  # names: as `embed` writes them

IGNORE = (
    'leave it out with ignore: ["{name}"], or drop `{name}` from the table; of groups of classes: levels: ["{name}"]'
)


@dataclass(frozen=True)
class _Table:
    """What a file holds: numbers ``(N, F)``, a label for each row, what says the split, and the columns' names."""

    matrix: np.ndarray
    labels: np.ndarray
    parts: dict[str, Any]
    columns: tuple[str, ...] | None
    notes: tuple[str, ...]
    groups: dict[str, np.ndarray]


@register_dataset("features")
def features(path: str, ignore: Sequence[str] = (), levels: Sequence[str] = ()) -> Dataset:
    """Features from a file: .npz (`embeddings` or `features`, and `labels`) or .parquet (numbers, and `label`).

    Either may also hold `split` (train, validation, test), a table instead columns such as `train`, `test` or
    `is_query` of true and false. In a table every other column is a feature, a column of lists of numbers as many as
    its lists are long. Columns that look like row numbers or tell the class by themselves are named in the notes.

    Args:
        path: the file.
        ignore: columns of a table that are no features.
        levels: columns of a table, or arrays of an .npz, of coarser groups that the classes lie in, from the finest to
            the coarsest.

    Raises:
        InvalidValueError: the path is not text, or of another type than .npz and .parquet.
        DataError: the file is missing, broken, or lacks something.
    """
    file, place = checked_path(path, place="features"), f"features: {path}"
    left_out = checked_names("ignore", ignore, place=place)
    coarser = checked_names("levels", levels, place=place)
    kind = file.suffix.lower()
    if kind not in (".npz", ".parquet"):
        cure = "pandas.read_csv(…).to_parquet(…) makes a .parquet of a .csv" if kind == ".csv" else None
        raise InvalidValueError("`path` must end in .npz or .parquet", value=repr(file.name), cure=cure, place=place)
    if not file.is_file():
        told = {"value": "a folder"} if file.is_dir() else nothing_there(file)
        raise DataError("the file must exist", place=place, **told)
    table = (_from_npz if kind == ".npz" else _from_parquet)(file, left_out, coarser, place)
    samples = _as_float32(table.matrix, place)
    labels, names = encode_labels(table.labels, place=place)
    if len(labels) != len(samples):
        raise DataError("labels must be one for each row", value=f"{len(labels)} for {len(samples)} rows", place=place)
    groups = groups_of_classes(table.groups, labels, names, place=place)
    official, notes = official_split(table.parts, len(samples), place=place)
    try:
        return Dataset(
            "features", samples, labels, names, split=official, columns=table.columns, notes=(*notes, *table.notes),
            levels=groups,
        )  # fmt: skip
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


def _from_npz(file: Path, ignore: Sequence[str], levels: Sequence[str], place: str) -> _Table:
    if ignore:
        cure = "drop its columns before writing it, or write a .parquet"
        raise InvalidValueError("`ignore` needs columns with names", value="an .npz", cure=cure, place=place)
    arrays = read_npz(file, (*MATRIX, "labels", "split", *levels), place=place)
    for name in levels:
        if name not in arrays:
            raise DataError("the file must hold an array for each level", value=f"no `{name}`", place=place)
    found = [name for name in MATRIX if name in arrays]
    if len(found) != 1 or "labels" not in arrays:
        rule = "the file must hold `labels`, and either `embeddings` or `features`"
        cure = "write it with np.savez(path, embeddings=…, labels=…)"
        raise DataError(rule, value=", ".join(sorted(arrays)) or "none of them", cure=cure, place=place)
    matrix, labels = arrays[found[0]], arrays["labels"]
    notes: list[str] = []
    if matrix.ndim == 2 and matrix.dtype.kind in "fiu" and labels.shape == matrix.shape[:1]:
        suspects = Suspects(labels)
        for number, column in enumerate(matrix.T):
            suspects.look(f"column {number}", column)
        notes = suspects.sentences(ignorable=False)
    parts = {"split": arrays["split"]} if "split" in arrays else {}
    return _Table(matrix, labels, parts, None, tuple(notes), {name: arrays[name] for name in levels})


def _from_parquet(file: Path, ignore: Sequence[str], levels: Sequence[str], place: str) -> _Table:
    table = read_parquet(file, place=place)
    known = table.column_names
    for option, names in (("ignore", ignore), ("levels", levels)):
        for name in names:
            if name not in known or name == "label":
                cure = did_you_mean(name, [other for other in known if other != "label"])
                rule = f"`{option}` must name columns of the table"
                raise InvalidValueError(rule, value=repr(name), cure=cure, place=place)
    if "label" not in known:
        cure = "name the column of labels `label`"
        raise DataError("the table must have a column `label`", value=", ".join(known[:20]), cure=cure, place=place)
    labels = column_labels(table["label"], place=place)
    suspects = Suspects(encode_labels(labels, place=place)[0])
    no_split = {*ignore, *levels}
    split = [name for name in known if name not in no_split and (name == "split" or _says_a_part(name, table[name]))]
    wanted = [name for name in known if name not in (*RESERVED, *ignore, *levels, *split)]
    matrix, columns = joined_columns(table, wanted, place=place, suspects=suspects)
    parts = {name: column_labels(table[name], place=place, name=name) for name in split}
    groups = {name: column_labels(table[name], place=place, name=name) for name in levels}
    return _Table(matrix, labels, parts, columns, tuple(suspects.sentences()), groups)


def _says_a_part(name: str, column: Any) -> bool:
    """Whether a column says which rows belong to a part: it is called so, and holds true and false, or 0 and 1."""
    import pyarrow.compute

    kind, types = column.type, pyarrow.types
    if not is_flag(name) or not (types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind)):
        return False
    return all(value in (True, False, None) for value in pyarrow.compute.unique(column).to_pylist()[:4])


def joined_columns(
    table: Any, names: Sequence[str], *, place: str, suspects: Suspects | None = None, cure: str = IGNORE
) -> tuple[np.ndarray, tuple[str, ...]]:  # fmt: skip
    """Return the columns ``names`` of an Arrow table as float32 ``(N, F)``, and the name of each feature.

    Args:
        cure: what to do about a column that holds no numbers; ``{name}`` is its name.
        suspects: looks at every column that is no list.

    Raises:
        DataError: a column holds no numbers; the message names it.
    """
    cures = {name: cure.format(name=name) for name in names}
    first = [column_numbers(name, table[name].slice(0, 1), place=place, cure=cures[name]) for name in names]
    columns = [feature for name, block in zip(names, first) for feature in expanded_names(name, block)]
    if len(set(columns)) < len(columns):
        twice = next(name for number, name in enumerate(columns) if name in columns[:number])
        raise DataError("each feature must have a name of its own", value=f"`{twice}` twice", place=place)
    matrix, start = np.empty((table.num_rows, len(columns)), np.float32), 0
    for name in names:
        block = column_numbers(name, table[name], place=place, cure=cures[name])
        if suspects is not None and block.ndim == 1:
            suspects.look(name, block)
        width = 1 if block.ndim == 1 else block.shape[1]
        with np.errstate(over="ignore"):  # what overflows is infinite, and refused as such
            matrix[:, start : start + width] = block.reshape(len(block), width)
        start += width
    return matrix, tuple(columns)
