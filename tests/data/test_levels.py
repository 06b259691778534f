"""Levels of a hierarchy: read from every kind of source, and refused where they are no tree."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mlcompare import as_dataset
from mlcompare.data import Dataset, load_dataset
from mlcompare.data.pairs import with_pairs
from mlcompare.errors import DataError, InvalidValueError

BREEDS = {
    "poodle": ("dog", "mammal"),
    "husky": ("dog", "mammal"),
    "siamese": ("cat", "mammal"),
    "robin": ("song", "bird"),
}
EXPECTED = {"kind": ("dog", "dog", "song", "cat"), "realm": ("mammal", "mammal", "bird", "mammal")}  # classes sorted


def animals(tmp_path: Path) -> Path:
    for number, (breed, (kind, realm)) in enumerate(BREEDS.items()):
        folder = tmp_path / "set" / realm / kind / breed
        folder.mkdir(parents=True)
        for value in (0, 9):
            Image.new("L", (5, 5), 20 * number + value).save(folder / f"{value}.png")
    return tmp_path / "set"


def test_folders_above_the_class(tmp_path: Path) -> None:
    path = animals(tmp_path)
    data = load_dataset("image_folder", path=str(path), size=4, channels=1, levels=["kind", "realm"])
    of_class = dict(zip(data.class_names, zip(*data.levels.values())))
    assert of_class["mammal/dog/husky"] == ("mammal/dog", "mammal")
    assert list(data.levels) == ["kind", "realm"]
    plain = load_dataset("image_folder", path=str(path), size=4, channels=1)
    assert plain.levels == {}
    assert len({plain.fingerprint, data.fingerprint}) == 2, "what is learned may depend on levels"
    other = load_dataset("image_folder", path=str(path), size=4, channels=1, levels=["sort"])
    assert other.fingerprint not in (plain.fingerprint, data.fingerprint)
    with pytest.raises(DataError, match="must lie in 3 folders, one for each level, got bird/song/robin; name fewer"):
        load_dataset("image_folder", path=str(path), size=4, channels=1, levels=["a", "b", "c"])
    with pytest.raises(InvalidValueError, match="leave out class_of"):
        load_dataset("image_folder", path=str(path), size=4, channels=1, class_of="top", levels=["a"])


def table(**changes) -> pd.DataFrame:
    rows = [{"label": breed, "kind": kind, "realm": realm} for breed, (kind, realm) in BREEDS.items() for _ in range(2)]
    return pd.DataFrame(rows).assign(**changes)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_columns_of_a_list(tmp_path: Path, ending: str) -> None:
    path = animals(tmp_path)
    frame = table(path=[f"{r}/{k}/{b}/{v}.png" for b, (k, r) in BREEDS.items() for v in (0, 9)])
    file = path / f"list{ending}"
    frame.to_csv(file, index=False) if ending == ".csv" else frame.to_parquet(file)
    data = load_dataset("image_list", path=str(file), size=4, channels=1, levels=["kind", "realm"])
    assert data.levels == EXPECTED
    assert load_dataset("image_list", path=str(file), size=4, channels=1).levels == {}
    with pytest.raises(DataError, match="`label` and `species`"):
        load_dataset("image_list", path=str(file), size=4, channels=1, levels=["species"])


def test_columns_of_features(tmp_path: Path) -> None:
    frame = table(x=np.arange(8.0), y=1.0)
    frame.to_parquet(tmp_path / "x.parquet")
    data = load_dataset("features", path=str(tmp_path / "x.parquet"), levels=["kind", "realm"])
    assert data.levels == EXPECTED
    assert data.columns == ("x", "y")
    with pytest.raises(InvalidValueError, match=r"`levels` must name columns of the table.*did you mean kind"):
        load_dataset("features", path=str(tmp_path / "x.parquet"), levels=["kinds"])
    arrays = {name: frame[name].to_numpy(dtype=str) for name in ("kind", "realm")}
    np.savez(tmp_path / "x.npz", features=frame[["x", "y"]], labels=frame["label"].to_numpy(dtype=str), **arrays)
    other = load_dataset("features", path=str(tmp_path / "x.npz"), levels=["kind", "realm"])
    assert other.levels == EXPECTED
    assert other.fingerprint == data.fingerprint
    with pytest.raises(DataError, match="an array for each level, got no `species`"):
        load_dataset("features", path=str(tmp_path / "x.npz"), levels=["species"])


def test_items_of_ones_own() -> None:
    items = [(np.ones(2), breed) for breed in table()["label"]]
    data = as_dataset(items, levels={"kind": list(table()["kind"])})
    assert data.levels == {"kind": EXPECTED["kind"]}
    with pytest.raises(DataError, match="a group for each row, got 2 of `kind` for 8 rows"):
        as_dataset(items, levels={"kind": ["dog", "cat"]})


def test_a_class_in_two_groups_is_named(tmp_path: Path) -> None:
    kinds = ["dog", "wolf", *table()["kind"][2:]]
    table(x=1.0, kind=kinds).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(DataError, match="one group of a level, got poodle in dog and wolf of `kind`; correct the rows"):
        load_dataset("features", path=str(tmp_path / "x.parquet"), levels=["kind", "realm"])


@pytest.mark.parametrize(
    ("levels", "rule"),
    [
        ({"kind": ("a",)}, "a group for each class, got 1 of `kind` for 2 classes"),
        ({"realm": ("x", "x"), "kind": ("a", "b")}, "got x of `realm` in a and b of `kind`; order the levels"),
        ({"my kind": ("a", "b")}, "letters, digits and underscores"),
        ({"class": ("a", "b")}, "not `class`"),
        ({"kind_in_4": ("a", "b")}, "metrics end with it"),
    ],
)
def test_what_is_no_tree(levels: dict, rule: str) -> None:
    with pytest.raises((DataError, InvalidValueError), match=rule):
        Dataset("x", np.zeros((2, 1), np.float32), np.arange(2), ("a", "b"), levels=levels)


def test_people_of_a_pairs_file_lie_in_no_group(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"")
    images = Dataset("x", np.zeros((2, 1, 4, 4), np.uint8), np.arange(2), ("a", "b"))
    with pytest.raises(DataError, match="lie in no group, got kind; leave out"):
        with_pairs(replace(images, levels={"kind": ("u", "v")}), str(tmp_path / "x.bin"))
