"""One thing under two names would be sealed under one and trained under the other: it is read as one, or refused."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlcompare.data import draw_splits, load_dataset
from mlcompare.data.images import readable_endings
from mlcompare.data.labels import encode_labels
from mlcompare.errors import DataError

COMPOSED, APART = unicodedata.normalize("NFC", "größe"), unicodedata.normalize("NFD", "größe")


def picture(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), value).save(path)


def tree(root: Path, *parts: str, classes=("cat", "dog", "emu"), each: int = 2) -> Path:
    number = 0
    for part in parts or ("",):
        for name in classes:
            for index in range(each):
                picture(root / part / name / f"{index}.png", number := number + 1)
    return root


@pytest.mark.parametrize("parts", [("train", "val", "test"), ("Train", "Test"), ("training", "validation", "testing")])
def test_a_root_of_splits_is_the_official_split(tmp_path: Path, parts: tuple[str, ...]) -> None:
    data = load_dataset("image_folder", path=str(tree(tmp_path / "x", *parts)), size=[4, 4], channels=1)
    assert data.class_names == ("cat", "dog", "emu")
    assert np.bincount(data.labels).tolist() == [2 * len(parts)] * 3
    wanted = {"train": 6, "test": 6, **({"validation": 6} if len(parts) == 3 else {})}
    assert dict(zip(*np.unique(data.split, return_counts=True))) == wanted
    assert any("official split" in note for note in data.notes)
    splits = draw_splits(data.labels, official=data.split, kind="closed_set", test_classes="official", folds=2)
    assert set(np.array(data.paths)[splits.test]) == {path for path in data.paths if path.lower().startswith("test")}


def test_classes_that_only_look_like_splits_are_classes(tmp_path: Path) -> None:
    data = load_dataset("image_folder", path=str(tree(tmp_path, classes=("train", "bus", "test"))), size=[4, 4])
    assert data.class_names == ("bus", "test", "train")
    assert data.split is None
    with pytest.raises(DataError, match="class folder"):
        load_dataset("image_folder", path=str(tree(tmp_path / "y", classes=("train", "test"))), size=[4, 4])


@pytest.mark.parametrize("name", ["@eaDir", ".AppleDouble", "__MACOSX", "#recycle", "$RECYCLE.BIN", "lost+found"])
def test_what_systems_leave_behind_is_no_class(tmp_path: Path, name: str) -> None:
    root = tree(tmp_path / "x")
    picture(root / name / "0.png", 7)
    picture(root / "cat" / name / "1.png", 8)
    for file in ("._0.png", "Thumbs.db", "desktop.ini"):
        (root / "cat" / file).write_bytes(b"not an image")
    data = load_dataset("image_folder", path=str(root), size=[4, 4])
    assert data.class_names == ("cat", "dog", "emu")
    assert data.notes == ("5 hidden or system files or folders were left out",)


def test_files_that_are_no_images_are_counted_by_their_ending(tmp_path: Path) -> None:
    root = tree(tmp_path / "x")
    for name in ("a.heic", "b.HEIC", "notes.txt", "Makefile"):
        (root / "dog" / name).write_bytes(b"?")
    (note,) = load_dataset("image_folder", path=str(root), size=[4, 4]).notes
    assert note == "4 files that Pillow does not read as images (2 × .heic, 1 × .txt, 1 × no ending) were left out"


@pytest.mark.parametrize(
    ("one", "two"), [("cat", "cat "), (" cat", "cat"), (COMPOSED, APART), ("a b", "a  b"), ("a", "a\t")]
)
def test_labels_that_look_alike_are_refused(one: str, two: str) -> None:
    with pytest.raises(DataError, match="look alike") as error:
        encode_labels([one, "dog", two], place="labels")
    assert ascii(one) in str(error.value.value)
    assert ascii(two) in str(error.value.value)


def test_labels_that_differ_stay_apart() -> None:
    assert encode_labels(["cat", "Cat", "cats", "ca t"], place="labels")[1] == ("Cat", "ca t", "cat", "cats")


def test_a_split_with_strangers_beside_it_is_refused(tmp_path: Path) -> None:
    root = tree(tmp_path / "x", "train", "test")
    tree(root / "extra", classes=("cat",))
    with pytest.raises(DataError, match="official split only where nothing else") as error:
        load_dataset("image_folder", path=str(root), size=[4, 4])
    assert "extra" in str(error.value.value)


def test_whole_numbers_stored_as_floats_are_labels() -> None:
    labels, names = encode_labels(np.array([2.0, 10.0, 2.0]), place="labels")
    assert (labels.tolist(), names) == ([0, 1, 0], ("2", "10"))
    for bad in ([1.0, 0.5], [1.0, np.nan], [1.0, np.inf]):
        with pytest.raises(DataError, match="row 1"):
            encode_labels(np.array(bad), place="labels")


@pytest.mark.parametrize("ending", [".h5", ".hdf", ".mpg", ".mpeg", ".grib", ".bufr"])
def test_formats_that_pillow_can_only_name_are_no_images(ending: str) -> None:
    assert ending not in readable_endings()
