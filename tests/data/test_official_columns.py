"""Official splits as lists write them are understood, or refused by the column's name; never passed over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mlcompare.data import Dataset, load_dataset
from mlcompare.errors import DataError

LABELS = ["a", "a", "b", "b"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(4):
        Image.new("L", (4, 4), 50 * number).save(tmp_path / f"{number}.png")
    return tmp_path


def listed(folder: Path, kind: str, **columns: list) -> Dataset:
    frame = pd.DataFrame({"path": [f"{n}.png" for n in range(4)], "label": LABELS, **columns})
    if kind == "csv":
        frame.to_csv(folder / "x.csv", index=False)
    else:
        frame.to_parquet(folder / "x.parquet")
    return load_dataset("image_list", path=str(folder / f"x.{kind}"), size=4, channels=1)


UNDERSTOOD = {
    "usual words": ({"split": ["train", "training", "val", "testing"]}, "train train validation test"),
    "retrieval words": ({"split": ["train", "train", "query", "gallery"]}, "train train test test"),
    "flags": ({"train": [1, 1, 0, 0], "test": [0, 0, 1, 1]}, "train train test test"),
    "three flags": (
        {"is_train": [True, False, False, False], "is_val": [False, True, False, False],
         "is_test": [False, False, True, True]},
        "train validation test test",
    ),
    "query and gallery": (
        {"is_query": [False, False, True, False], "is_gallery": [False, False, False, True]}, "train train test test",
    ),
    "both at once": ({"is_query": [0, 0, 1, 1], "is_gallery": [0, 0, 1, 1]}, "train train test test"),
    "with a split": (
        {"split": ["train", "train", "validation", "validation"], "is_query": [None, None, True, True],
         "is_gallery": [None, None, True, True]},
        "train train test test",
    ),
    "a split and more validation": (
        {"split": ["train", "validation", "validation", "test"], "is_query": [False, False, True, True]},
        "train validation test test",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("case", UNDERSTOOD)
def test_splits_of_published_lists_are_understood(folder: Path, kind: str, case: str) -> None:
    columns, wanted = UNDERSTOOD[case]
    data = listed(folder, kind, **columns)
    assert data.split.tolist() == wanted.split()
    told = " ".join(data.notes)
    assert all(f"`{name}`" in told for name in columns if name != "split"), "what was read as a split is told"
    assert ("query or gallery" in told) == any(word in f"{columns}" for word in ("query", "gallery"))


REFUSED = {
    "another name": ({"subset": ["train", "train", "test", "test"]}, "`subset` of test, train.*rename `subset`"),
    "another case": ({"Split": ["Train", "Train", "Test", "Test"]}, "`Split`"),
    "retrieval": ({"evaluation_status": ["train", "query", "gallery", "gallery"]}, "`evaluation_status`"),
    "no part": ({"train": [1, 0, 0, 0], "test": [0, 0, 1, 1]}, "none in row 1"),
    "two parts": ({"train": [1, 1, 1, 0], "test": [0, 0, 1, 1]}, "one part.*row 2"),
    "against the split": ({"split": ["train", "test", "test", "test"], "is_query": [1, 0, 0, 0]}, "row 0"),
    "validation against training": (
        {"split": ["train", "validation", "test", "test"], "is_train": [1, 1, 0, 0]}, "row 1",
    ),
    "no flag": ({"test": ["x", "y", "z", "z"]}, "`test` must say.*'x' in row 0"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("case", REFUSED)
def test_splits_that_are_not_understood_are_refused_by_name(folder: Path, kind: str, case: str) -> None:
    columns, rule = REFUSED[case]
    with pytest.raises(DataError, match=rule):
        listed(folder, kind, **columns)


def test_other_columns_of_words_stay_what_they_are(folder: Path) -> None:
    data = listed(folder, "csv", vehicle=["train", "car", "train", "car"], what=["test", "test", "test", "test"])
    assert (data.split, data.notes) == (None, ())
    halves = ["train", "train", "test", "test"]
    data = listed(folder, "csv", split=halves, first_split=halves[::-1])
    assert data.split.tolist() == halves, "one that is called `split` counts"


def test_tables_of_features_have_such_columns_too(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [0.5, 1.5, 1.0, 3.0], "label": LABELS, "is_query": [False, False, True, True]})
    frame["train"] = [1, 1, 0, 0]
    frame["val"] = [0.25, 0.5, 0.75, 1.0]  # a number, whatever it is called
    frame.to_parquet(tmp_path / "x.parquet")
    data = load_dataset("features", path=str(tmp_path / "x.parquet"))
    assert data.columns == ("a", "val")
    assert data.split.tolist() == ["train", "train", "test", "test"]
    assert "`is_query`" in data.notes[0]
    np.savez(tmp_path / "x.npz", features=frame[["a"]], labels=LABELS, split=["train", "val", "query", "test"])
    data = load_dataset("features", path=str(tmp_path / "x.npz"))
    assert data.split.tolist() == ["train", "validation", "test", "test"]
