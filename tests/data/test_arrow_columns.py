"""Every type of an Arrow column is read as what it holds, or refused in one line with the column and a cure."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from mlcompare.data import Dataset, load_dataset
from mlcompare.data.arrow_columns import column_labels, column_numbers
from mlcompare.data.labels import encode_labels
from mlcompare.errors import DataError, InvalidValueError, MLCompareError

D = decimal.Decimal
LISTS = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
DAY = datetime.date(2020, 1, 1)

NUMBERS = {
    **{str(kind): pa.array([1, 2, 3], kind) for kind in (
        pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64(),
        pa.float32(), pa.float64(),
    )},
    "half": pa.array(np.array([1, 2, 3], np.float16)),
    "decimal": pa.array([D("1"), D("2.0"), D("3")], pa.decimal128(6, 2)),
    "wide decimal": pa.array([D("1"), D("2.0"), D("3")], pa.decimal256(60, 2)),
    "dictionary": pa.array([1, 2, 3]).dictionary_encode(),
}  # fmt: skip
NESTED = {
    "list": pa.array(LISTS, pa.list_(pa.float32())),
    "large list": pa.array(LISTS, pa.large_list(pa.float16())),
    "fixed": pa.array(LISTS, pa.list_(pa.float64(), 2)),
    "view": pa.array(LISTS, pa.list_view(pa.float32())),
    "large view": pa.array(LISTS, pa.large_list_view(pa.int8())),
    "of decimals": pa.array([[D(int(v)) for v in row] for row in LISTS], pa.list_(pa.decimal128(3, 0))),
    "lists of lists": pa.array([[[a], [b]] for a, b in LISTS], pa.list_(pa.list_(pa.float32()))),
    "tensor": pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.float32(), (2, 1)), pa.array(LISTS, pa.list_(pa.float32(), 2))
    ),
}
OTHERS = {
    "text": pa.array(["a", "b", "c"]),
    "large text": pa.array(["a", "b", "c"], pa.large_string()),
    "view of text": pa.array(["1", "2", "3"], pa.string_view()),
    "dictionary of text": pa.array(["a", "b", "a"]).dictionary_encode(),
    "bytes": pa.array([b"a", b"b", b"c"]),
    "date": pa.array([DAY] * 3),
    "time": pa.array([datetime.time(1)] * 3),
    "timestamp": pa.array([datetime.datetime(2020, 1, 1)] * 3),
    "duration": pa.array([datetime.timedelta(1)] * 3),
    "null": pa.nulls(3),
    "struct": pa.array([{"a": 1}] * 3),
    "map": pa.array([[("a", 1)]] * 3, pa.map_(pa.string(), pa.int64())),
    "ragged": pa.array([[1.0], [1.0, 2.0], [1.0]]),
    "gap in lists": pa.array([[1.0], None, [1.0]]),
    "empty lists": pa.array([[], [], []], pa.list_(pa.float32())),
    "lists of text": pa.array([["a"], ["b"], ["c"]]),
}


def table(folder: Path, columns: dict[str, Any], **options: Any) -> Dataset:
    labels = {} if "label" in columns else {"label": pa.array(["x", "y", "x"])}
    parquet.write_table(pa.table({**columns, **labels}), folder / "x.parquet")
    return load_dataset("features", path=str(folder / "x.parquet"), **options)


@pytest.mark.parametrize("kind", NUMBERS)
def test_every_number_is_a_feature(tmp_path: Path, kind: str) -> None:
    data = table(tmp_path, {"a": NUMBERS[kind], "b": pa.array([True, False, True])})
    assert data.samples.tolist() == [[1, 1], [2, 0], [3, 1]]
    assert data.columns == ("a", "b")


@pytest.mark.parametrize("kind", NESTED)
def test_lists_of_numbers_are_features(tmp_path: Path, kind: str) -> None:
    data = table(tmp_path, {"w": pa.array([7.0, 8.0, 9.0]), "e": NESTED[kind]})
    assert data.samples.tolist() == [[7, 1, 2], [8, 3, 4], [9, 5, 6]]
    assert data.columns == ("w", "e[0]", "e[1]")


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_no_number_is_refused_by_name_or_left_out(tmp_path: Path, kind: str) -> None:
    with pytest.raises(DataError) as error:
        table(tmp_path, {"w": pa.array([7.0, 8.0, 9.0]), "odd": OTHERS[kind]})
    assert "`odd`" in str(error.value)
    assert 'ignore: ["odd"]' in str(error.value.cure)
    data = table(tmp_path, {"w": pa.array([7.0, 8.0, 9.0]), "odd": OTHERS[kind]}, ignore=["odd"])
    assert data.samples.tolist() == [[7], [8], [9]]


def test_runs_are_read_although_parquet_keeps_none() -> None:
    runs = pa.RunEndEncodedArray.from_arrays([2, 3], [5, 6])
    assert column_numbers("a", pa.chunked_array([runs]), place="t").tolist() == [5, 5, 6]


def test_gaps_are_named_with_row_and_column(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 1 of `b`"):
        table(tmp_path, {"a": pa.array([1, 2, 3]), "b": pa.array([1, None, 3])})


LABELS = {
    "text": (pa.array(["b", "a", "b"]), ("a", "b")),
    "large text": (pa.array(["b", "a", "b"], pa.large_string()), ("a", "b")),
    "view": (pa.array(["b", "a", "b"], pa.string_view()), ("a", "b")),
    "dictionary": (pa.array(["b", "a", "b"]).dictionary_encode(), ("a", "b")),
    "dictionary of numbers": (pa.array([10, 9, 10]).dictionary_encode(), ("9", "10")),
    "numbers": (pa.array([10, 9, 10], pa.int16()), ("9", "10")),
    "unsigned": (pa.array([10, 9, 10], pa.uint64()), ("9", "10")),
    "floats": (pa.array([10.0, 9.0, 10.0]), ("9", "10")),
    "half": (pa.array(np.array([10, 9, 10], np.float16)), ("9", "10")),
    "decimals": (pa.array([D(10), D(9), D(10)], pa.decimal128(4, 1)), ("9", "10")),
    "booleans": (pa.array([True, False, True]), ("False", "True")),
    "bytes": (pa.array(["ö".encode(), b"a", "ö".encode()]), ("a", "ö")),
    "fixed bytes": (pa.array([b"bb", b"aa", b"bb"], pa.binary(2)), ("aa", "bb")),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_every_type(tmp_path: Path, kind: str) -> None:
    column, names = LABELS[kind]
    data = table(tmp_path, {"a": pa.array([1.0, 2.0, 4.0]), "label": column})
    assert data.class_names == names
    assert data.labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([DAY] * 3), pa.array([datetime.datetime(2020, 1, 1)] * 3), pa.array([datetime.timedelta(1)] * 3),
        pa.array([datetime.time(1)] * 3), pa.nulls(3), pa.array([{"a": 1}] * 3), pa.array([[1]] * 3),
        pa.array([b"\xff"] * 3), pa.array([D("1.5")] * 3), pa.array([1.5] * 3), pa.array([1, None, 2]),
        pa.array([True, None, False]), pa.array(["a", None, "b"]), pa.array([b"a", None, b"b"]),
    ],
)  # fmt: skip
def test_labels_that_are_none_are_refused_in_a_line(column: pa.Array) -> None:
    with pytest.raises(DataError) as error:
        encode_labels(column_labels(pa.chunked_array([column]), place="t"), place="t")
    assert error.value.value
    assert "\n" not in str(error.value)


def rows(count: int = 12) -> dict[str, Any]:
    drawn = np.random.default_rng(0).normal(size=count)
    return {"a": pa.array(drawn), "label": pa.array(np.repeat(["x", "y", "z"], count // 3))}


SHUFFLED = [4, 1, 3, 2, 8, 5, 7, 6, 12, 9, 11, 10]


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("Unnamed: 0", range(12), "counts the rows"),
        ("n", [float(value) for value in range(100, 88, -1)], "counts the rows"),
        ("key", SHUFFLED, "one after the other"),
        ("image_id", [3, 1, 3, 1, 5, 9, 2, 6, 5, 3, 5, 8], "called like an identifier"),
        ("person", np.repeat([7, 9, 8], 4), "tells the classes apart"),
        ("centre", np.repeat([0.7, 0.9, 0.8], 4), "tells the classes apart"),
    ],
)
def test_what_is_hardly_a_feature_is_told_and_can_be_left_out(tmp_path: Path, name, values, reason) -> None:
    (note,) = table(tmp_path, {**rows(), name: pa.array(list(values))}).notes
    assert reason in note
    assert f'ignore: ["{name}"]' in note
    data = table(tmp_path, {**rows(), name: pa.array(list(values))}, ignore=[name])
    assert (data.columns, data.notes) == (("a",), ())


def test_what_is_a_feature_is_not_spoken_of(tmp_path: Path) -> None:
    counts = pa.array([3, 1, 3, 1, 5, 9, 2, 6, 5, 3, 5, 8])
    sorted_floats = pa.array(np.arange(12) * 0.5 + 0.1)
    assert table(tmp_path, {**rows(), "count": counts, "width": sorted_floats, "one": pa.array([1] * 12)}).notes == ()


def test_row_numbers_in_an_array_are_told_by_their_place(tmp_path: Path) -> None:
    matrix = np.column_stack([np.random.default_rng(0).normal(size=12), np.arange(12)])
    np.savez(tmp_path / "x.npz", features=matrix, labels=np.repeat([0, 1, 2], 4))
    (note,) = load_dataset("features", path=str(tmp_path / "x.npz")).notes
    assert "`column 1` counts the rows" in note
    with pytest.raises(InvalidValueError, match="names"):
        load_dataset("features", path=str(tmp_path / "x.npz"), ignore=["column 1"])


@pytest.mark.parametrize("ignore", ["a", 3, [{"Unnamed": 0}], ["aa"], ["label"], None])
def test_ignore_names_columns(tmp_path: Path, ignore: Any) -> None:
    with pytest.raises(MLCompareError, match="`ignore` must"):
        table(tmp_path, rows(), ignore=ignore)


@pytest.mark.parametrize("reader", ["features", "image_list"])
@pytest.mark.parametrize("column", ["label", "split"])
def test_text_that_is_not_utf_8_is_refused(reader: str, column: str, tmp_path: Path) -> None:
    broken = pa.Array.from_buffers(pa.string(), 2, [*pa.array(["aa", "bb"]).buffers()[:2], pa.py_buffer(b"a\xaebb")])
    columns = {"label": pa.array(["x", "y"]), "split": pa.array(["train", "test"])}
    more = {"path": pa.array(["a.png", "b.png"])} if reader == "image_list" else {"f": pa.array([0.0, 1.0])}
    parquet.write_table(pa.table({**more, **columns, column: broken}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"must be a whole \.parquet"):
        load_dataset(reader, path=str(tmp_path / "x.parquet"))
