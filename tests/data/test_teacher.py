"""A teacher's file: rows in the dataset's order, and everything that can be told of a wrong one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlcompare.data import Dataset
from mlcompare.data.teacher import read_teacher, teacher_hash
from mlcompare.errors import MLCompareError

LABELS = np.array([0, 0, 1, 1, 2])
DATA = Dataset("x", np.zeros((5, 2), np.float32), LABELS, ("ant", "bee", "cat"))
ROWS = np.arange(15.0).reshape(5, 3)


def test_files(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", ROWS)
    np.savez(tmp_path / "y.npz", embeddings=ROWS, labels=np.array(list("aabbc")))
    np.savez(tmp_path / "z.npz", features=ROWS.astype(np.float16))
    found = [read_teacher(str(tmp_path / name), DATA) for name in ("x.npy", "y.npz", "z.npz")]
    for rows in found:
        assert rows.dtype == np.float32
        assert np.array_equal(rows, ROWS)
    assert teacher_hash(found[0]) == teacher_hash(found[1]) != teacher_hash(found[0][::-1])


@pytest.mark.parametrize(
    ("arrays", "rule"),
    [
        ({"embeddings": ROWS[:4]}, "a row for each sample, got 4 rows for 5 samples; embed the dataset as it is read"),
        ({"embeddings": ROWS * np.nan}, "must be finite, got NaN or inf in 5 rows, the first 0"),
        ({"embeddings": ROWS * 1e300}, "must be finite"),
        ({"embeddings": ROWS[0]}, r"must be numbers \(N, T\)"),
        ({"embeddings": ROWS.astype(str)}, r"must be numbers \(N, T\)"),
        ({"embeddings": ROWS, "features": ROWS}, "either `embeddings` or `features`"),
        ({"other": ROWS}, "either `embeddings` or `features`, got none"),
        ({"embeddings": ROWS, "labels": np.array(list("aabcc"))}, "dataset's order, got row 4 is c there and cat here"),
        ({"embeddings": ROWS, "labels": np.array(list("aabbb"))}, "dataset's order, got row 4 is b there and cat here"),
        ({"embeddings": ROWS, "labels": np.array(list("ab"))}, "got 2 labels for 5 samples"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, arrays: dict, rule: str) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(MLCompareError, match=rule) as caught:
        read_teacher(str(tmp_path / "x.npz"), DATA)
    assert "x.npz" in str(caught.value)


def test_what_is_no_file_of_embeddings(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(b"none")
    (tmp_path / "x.pt").touch()
    for path, rule in [
        ("", "needs a teacher's embeddings.*`mlcompare embed MODEL DATA --out teacher.npz`"),
        (str(tmp_path), "a .npz or .npy of embeddings, got a folder; embed the data with the teacher"),
        (str(tmp_path / "x.pt"), "got 'x.pt'"),
        (str(tmp_path / "none.npz"), "must exist"),
        (str(tmp_path / "x.npy"), "an array that np.save wrote"),
    ]:
        with pytest.raises(MLCompareError, match=rule):
            read_teacher(path, DATA)
