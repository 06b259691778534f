"""Feature files: what they hold comes back; what is broken is named."""

from __future__ import annotations

import contextlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlcompare.data import load_dataset
from mlcompare.errors import DataError, InvalidValueError, MLCompareError

ROWS = np.arange(12, dtype=np.float64).reshape(4, 3)


@pytest.mark.parametrize("key", ["embeddings", "features"])
def test_npz(tmp_path: Path, key: str) -> None:
    np.savez_compressed(tmp_path / "x.npz", **{key: ROWS, "labels": np.array([7, 3, 7, 11]), "unused": [1]})
    data = load_dataset("features", path=str(tmp_path / "x.npz"))
    assert data.samples.dtype == np.float32
    assert np.array_equal(data.samples, ROWS)
    assert data.class_names == ("3", "7", "11")
    assert data.labels.tolist() == [1, 0, 1, 2]


def test_npz_keeps_fortran_order_text_labels_and_the_split(tmp_path: Path) -> None:
    split = np.array(["train", "test", "train", "validation"])
    np.savez(tmp_path / "x.npz", features=np.asfortranarray(ROWS), labels=np.array(["ö", "a", "ö", "b"]), split=split)
    data = load_dataset("features", path=str(tmp_path / "x.npz"))
    assert np.array_equal(data.samples, ROWS)
    assert data.class_names == ("a", "b", "ö")
    assert data.split.tolist() == split.tolist()


def test_parquet(tmp_path: Path) -> None:
    table = pd.DataFrame(ROWS, columns=["f0", "f1", "f2"], index=[9, 8, 7, 5])
    table["label"] = ["b", "a", "b", "b"]
    table["split"] = ["train", "train", "test", "test"]
    table.to_parquet(tmp_path / "x.parquet")
    data = load_dataset("features", path=str(tmp_path / "x.parquet"))
    assert np.array_equal(data.samples, ROWS)
    assert data.labels.tolist() == [1, 0, 1, 1]
    assert data.split.tolist() == ["train", "train", "test", "test"]


@pytest.mark.parametrize(
    ("arrays", "rule"),
    [
        ({"features": ROWS}, "must hold `labels`"),
        ({"labels": np.arange(4)}, "either `embeddings` or `features`"),
        ({"features": ROWS, "embeddings": ROWS, "labels": np.arange(4)}, "either"),
        ({"features": ROWS, "labels": np.arange(3)}, "one for each row"),
        ({"features": ROWS, "labels": np.arange(4) + 0.5}, "whole numbers or text"),
        ({"features": ROWS, "labels": np.array(["a", "", "b", "c"])}, "none in row 1"),
        ({"features": ROWS, "labels": np.array(["a", None, "b", "c"], object)}, "pickled"),
        ({"features": ROWS.reshape(2, 2, 3), "labels": np.arange(2)}, r"\(N, F\)"),
        ({"features": ROWS * np.nan, "labels": np.arange(4)}, "finite"),
        ({"features": ROWS * 1e300, "labels": np.arange(4)}, "finite"),
        ({"features": ROWS, "labels": np.arange(4), "split": np.array(["Test"] * 4)}, "did you mean test"),
        ({"features": ROWS[:0], "labels": np.arange(0)}, "at least one"),
    ],
)
def test_what_is_wrong_with_an_npz_is_named(tmp_path: Path, arrays: dict, rule: str) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(DataError, match=rule) as caught:
        load_dataset("features", path=str(tmp_path / "x.npz"))
    assert "x.npz" in str(caught.value)


@pytest.mark.parametrize(
    ("table", "rule"),
    [
        (pd.DataFrame({"a": [1.0], "name": ["x"], "label": [0]}), "drop `name`"),
        (pd.DataFrame({"a": [1.0], "labels": ["x"]}), "column `label`"),
        (pd.DataFrame({"a": [1.0, None], "label": [0, 1]}), "finite"),
        (pd.DataFrame({"a": [1.0, 2.0], "label": ["x", None]}), "None in row 1"),
        (pd.DataFrame({"label": ["x", "y"]}), r"\(N, F\)"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(tmp_path: Path, table: pd.DataFrame, rule: str) -> None:
    table.to_parquet(tmp_path / "x.parquet")
    with pytest.raises(DataError, match=rule):
        load_dataset("features", path=str(tmp_path / "x.parquet"))


def test_paths_are_checked(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must exist, got nothing there"):
        load_dataset("features", path=str(tmp_path / "none.npz"))
    with pytest.raises(InvalidValueError, match="must end in"):
        load_dataset("features", path=str(tmp_path / "x.csv"))
    with pytest.raises(InvalidValueError, match="must be text"):
        load_dataset("features", path=3)
    (tmp_path / "x.parquet").write_bytes(b"PAR1 nonsense PAR1")
    with pytest.raises(DataError, match="whole"):
        load_dataset("features", path=str(tmp_path / "x.parquet"))


def test_a_header_that_declares_too_much_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (2**40, 512)})
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("features.npy", header.getvalue() + b"\0" * 64)
    with pytest.raises(DataError, match="what its header says"):
        load_dataset("features", path=str(tmp_path / "x.npz"))


def _whole() -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, features=ROWS, labels=np.array([7, 3, 7, 11]))
    return stream.getvalue()


WHOLE = _whole()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, len(WHOLE)),
)
def test_malformed_archives_raise_only_our_errors(tmp_path: Path, changes: list, cut: int) -> None:
    content = bytearray(WHOLE)
    for position, value in changes:
        content[position] = value
    (tmp_path / "x.npz").write_bytes(content[: cut or None])
    with contextlib.suppress(MLCompareError):
        load_dataset("features", path=str(tmp_path / "x.npz"))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(header=st.binary(max_size=80), body=st.binary(max_size=40), whole=st.booleans())
def test_malformed_arrays_raise_only_our_errors(tmp_path: Path, header: bytes, body: bytes, whole: bool) -> None:
    start = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") if whole else b""
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("features.npy", start + header + body)
        archive.writestr("labels.npy", start + header + body)
    with pytest.raises(DataError):
        load_dataset("features", path=str(tmp_path / "x.npz"))
