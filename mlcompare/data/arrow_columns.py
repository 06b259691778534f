"""Columns of Arrow tables: every type is read as numbers or as labels, or refused in one line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from mlcompare.errors import DataError

__all__ = ["column_labels", "column_numbers", "expanded_names", "read_parquet"]

PANDAS_INDEX = re.compile(r"__index_level_\d+__")  # an index without a name, as pandas stores it


def read_parquet(file: Path, *, place: str) -> Any:
    """Return the table in a ``.parquet`` file, without the nameless index of pandas.

    Raises:
        DataError: the file is broken (text that is not UTF-8, say), or two columns have one name.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(file).read(use_threads=False)
        table.validate(full=True)  # text that is no UTF-8, offsets beyond the data
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError("the file must be a whole .parquet", value=reason, place=place) from None
    names = [name for name in table.column_names if not PANDAS_INDEX.fullmatch(name)]
    if len(set(names)) < len(names):
        raise DataError("each column must have a name of its own", value=", ".join(names), place=place)
    return table.select(names)


def column_numbers(name: str, column: Any, *, place: str, cure: str | None = None) -> np.ndarray:
    """Return a column as float64 ``(N,)``, or a column of lists of one length as ``(N, F)``; nulls are NaN.

    Integers, floats, booleans and decimals are numbers, dictionaries of them too, and so are lists of any kind, views
    and tensors of these.

    Args:
        cure: what a reader may do about a column of another type.

    Raises:
        DataError: a column of another type, or with lists of several lengths; the message names it.

    >>> import pyarrow
    >>> column_numbers("e", pyarrow.chunked_array([[[1, 2], [3, 4]]]), place="table").tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    import pyarrow

    column = _plain(column)
    kind, types = column.type, pyarrow.types
    if types.is_nested(kind) and not (types.is_struct(kind) or types.is_map(kind) or types.is_union(kind)):
        return _lists(name, column, place, cure)
    if not (types.is_floating(kind) or types.is_integer(kind) or types.is_boolean(kind) or types.is_decimal(kind)):
        rule = "every column but `label` and `split` must hold numbers, or lists of numbers of one length"
        raise DataError(rule, value=f"`{name}` of {kind}", cure=cure or f"drop `{name}` from the table", place=place)
    return column.cast(pyarrow.float64(), safe=False).to_numpy()


def _lists(name: str, column: Any, place: str, cure: str | None) -> np.ndarray:
    import pyarrow.compute

    lengths = pyarrow.compute.list_value_length(column).to_numpy().astype(np.float64)  # NaN where there is no list
    odd: np.ndarray = np.flatnonzero(~(lengths == lengths[:1]))
    if len(odd) or (len(lengths) and not lengths[0] > 0):
        row = int(odd[0]) if len(odd) else 0
        got = "no list" if np.isnan(lengths[row]) else f"{lengths[row]:.0f} values"
        rule = f"every row of `{name}` must hold a list of as many numbers"
        value = f"{got} in row {row}" + (f", {lengths[0]:.0f} in row 0" if row and lengths[0] >= 0 else "")
        raise DataError(rule, value=value, cure=cure or f"drop `{name}` from the table", place=place)
    width = int(lengths[0]) if len(lengths) else max(getattr(column.type, "list_size", 1), 1)
    flat = column_numbers(name, pyarrow.compute.list_flatten(column), place=place, cure=cure)
    return flat.reshape(len(lengths), width * (flat.shape[1] if flat.ndim > 1 else 1))


def expanded_names(name: str, block: np.ndarray) -> list[str]:
    """Return the names of the features that a column gives: its own, or one for each place in its lists.

    >>> expanded_names("e", np.zeros((5, 2)))
    ['e[0]', 'e[1]']
    """
    return [name] if block.ndim == 1 else [f"{name}[{place}]" for place in range(block.shape[1])]


def column_labels(column: Any, *, place: str, name: str = "label") -> np.ndarray:
    """Return a column of labels as objects: text, whole numbers, booleans, dictionaries of these, or bytes of UTF-8.

    Raises:
        DataError: a column of another type.
    """
    import pyarrow

    column = _plain(column)
    kind, types = column.type, pyarrow.types
    if types.is_decimal(kind):
        column = column.cast(pyarrow.float64(), safe=False)
    elif types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        try:
            column = column.cast(pyarrow.binary()).cast(pyarrow.string())
        except pyarrow.ArrowInvalid:
            cure = "store labels as integers or as text"
            raise DataError(
                f"`{name}` must be text", value="bytes that are not UTF-8", cure=cure, place=place
            ) from None
    elif not any(is_kind(kind) for is_kind in (
        types.is_string, types.is_large_string, types.is_string_view, types.is_integer, types.is_floating,
        types.is_boolean, types.is_null,
    )):  # fmt: skip
        cure = "store labels as integers or as text"
        raise DataError("labels must be whole numbers or text", value=f"`{name}` of {kind}", cure=cure, place=place)
    values = column.to_pylist()
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _plain(column: Any) -> Any:
    """Return a column without what only wraps its values: extension types (tensors), dictionaries, runs."""
    import pyarrow

    if isinstance(column, pyarrow.Array):
        column = pyarrow.chunked_array([column])
    types = pyarrow.types
    while True:
        kind = column.type
        if isinstance(kind, pyarrow.BaseExtensionType):
            column = pyarrow.chunked_array([chunk.storage for chunk in column.chunks], type=kind.storage_type)
        elif types.is_dictionary(kind):
            column = column.cast(kind.value_type)
        elif types.is_run_end_encoded(kind):
            decoded = pyarrow.compute.run_end_decode(column)
            column = decoded if isinstance(decoded, pyarrow.ChunkedArray) else pyarrow.chunked_array([decoded])
        else:
            return column
