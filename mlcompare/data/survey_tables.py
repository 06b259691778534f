"""Which columns a table has, and which of them are hardly features."""

from __future__ import annotations

import csv
from pathlib import Path

from mlcompare.data.arrow_columns import column_labels, column_numbers, read_parquet
from mlcompare.data.labels import encode_labels
from mlcompare.data.official_columns import is_flag
from mlcompare.data.suspicious import Suspects
from mlcompare.errors import DataError

__all__ = ["column_names", "hardly_features"]

NO_FEATURES = ("label", "split", "names")


def column_names(path: Path) -> list[str]:
    """Return the names of a table's columns, none where the file is no table that has some.

    Raises:
        DataError: the file can't be read.
    """
    if path.suffix.lower() == ".parquet":
        import pyarrow
        from pyarrow import parquet

        try:
            return list(parquet.ParquetFile(path).schema_arrow.names)
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError("the file must be a whole .parquet", value=reason, place=str(path)) from None
    if path.suffix.lower() != ".csv":
        return []
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return next(csv.reader(stream, strict=True), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        cure = "save it as comma-separated UTF-8 text"
        raise DataError("the list must be readable", value=str(error), cure=cure, place=str(path)) from None


def hardly_features(path: Path) -> dict[str, str]:
    """Return the columns of a .parquet that hold no numbers, count the rows or tell the class, and which it is.

    Nothing is returned where no column would be left.

    Raises:
        DataError: the file is broken, or has no labels.
    """
    place = str(path)
    table = read_parquet(path, place=place)
    if "label" not in table.column_names:
        cure = "name the column of labels `label`"
        names = ", ".join(table.column_names[:20])
        raise DataError("the table must have a column `label`", value=names, cure=cure, place=place)
    labels = encode_labels(column_labels(table["label"], place=place), place=place)[0]
    suspects, found, looked_at = Suspects(labels), dict[str, str](), 0
    for name in table.column_names:
        if name in NO_FEATURES or is_flag(name):
            continue
        looked_at += 1
        try:
            values = column_numbers(name, table[name], place=place)
        except DataError:
            found[name] = "holds no numbers"
            continue
        if values.ndim == 1:
            suspects.look(name, values)
    found |= suspects.found
    return found if len(found) < looked_at else {}
