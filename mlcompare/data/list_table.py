"""Lists of images as tables: .csv or .parquet, read and checked before any image is opened."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlcompare.data.arrow_columns import column_labels
from mlcompare.data.hints import nothing_there
from mlcompare.data.official_columns import is_flag
from mlcompare.errors import DataError, InvalidValueError

__all__ = ["read_table"]


def read_table(
    file: Path, needed: Sequence[str], *, paths: Sequence[str], labels: Sequence[str] = (), place: str
) -> dict[str, list[Any]]:
    """Return the columns of a list by name; of a .parquet those alone that are needed or could hold a split.

    Args:
        needed: columns that the list must have.
        paths: columns that hold text; those that the list needn't have may be empty in some rows.
        labels: columns that hold text or numbers.

    Raises:
        InvalidValueError: the file ends in neither .csv nor .parquet.
        DataError: it is missing, broken or empty, or a column is missing or of another kind.
    """
    if file.suffix.lower() not in (".csv", ".parquet"):
        raise InvalidValueError("`path` must end in .csv or .parquet", value=repr(file.name), place=place)
    if not file.is_file():
        told = {"value": "a folder"} if file.is_dir() else nothing_there(file)
        raise DataError("the file must exist", place=place, **told)
    if file.suffix.lower() == ".csv":
        table = _read_csv(file, needed, place)
    else:
        table = _read_parquet(file, needed, paths, labels, place)
    if not table[paths[0]]:
        raise DataError("the list must name at least one image", value="none", place=place)
    return table


def _read_csv(file: Path, needed: Sequence[str], place: str) -> dict[str, list[Any]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            names = next(reader, [])
            _check_names(names, needed, place)
            rows = []
            for row in reader:
                if row and len(row) != len(names):
                    got = f"{len(row)} in line {reader.line_num}, {len(names)} in the first line"
                    cure = "quote values that hold a comma"
                    raise DataError("every line must have as many values", value=got, cure=cure, place=place)
                rows += [row] if row else []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        cure = "save it as comma-separated UTF-8 text"
        raise DataError("the list must be readable", value=str(error), cure=cure, place=place) from None
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def _read_parquet(
    file: Path, needed: Sequence[str], paths: Sequence[str], labels: Sequence[str], place: str
) -> dict[str, list[Any]]:
    import pyarrow
    from pyarrow import parquet

    try:
        table_file = parquet.ParquetFile(file)
        names = table_file.schema_arrow.names
        _check_names(names, needed, place)
        told = {*needed, *paths, "split"}
        wanted = [name for name in names if name in told or is_flag(name) or _is_text(table_file, name)]
        table = table_file.read(columns=wanted, use_threads=False)
        table.validate(full=True)  # text that is no UTF-8, offsets beyond the data
    except DataError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError("the file must be a whole .parquet", value=reason, place=place) from None
    columns: dict[str, Any] = {name: table[name].to_pylist() for name in table.column_names}
    for name in paths:
        for row, value in enumerate(columns.get(name, ())):
            if not (isinstance(value, str) or (value is None and name not in needed)):
                raise DataError(f"every {name} must be text", value=f"{value!r} in row {row}", place=place)
    return {**columns, **{name: column_labels(table[name], place=place) for name in labels}}


def _is_text(table_file: Any, name: str) -> bool:
    """Whether a column may hold a split: text, or a dictionary of it."""
    import pyarrow

    kind, types = table_file.schema_arrow.field(name).type, pyarrow.types
    kind = kind.value_type if types.is_dictionary(kind) else kind
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _check_names(names: list[str], needed: Sequence[str], place: str) -> None:
    missing = [name for name in needed if name not in names]
    if missing or len(set(names)) < len(names):
        wanted = " and ".join(f"`{name}`" for name in needed)
        rule = f"the list must have columns {wanted}, each column with a name of its own"
        cure = "name them in the first line"
        if "anchor" in names and "anchor" not in needed:
            cure = "a list of anchors and positives is `dataset: {name: triplet_list, path: …}`"
        raise DataError(rule, value=", ".join(names)[:200] or "an empty file", cure=cure, place=place)
