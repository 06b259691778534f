"""Lists of images: rows keep their order, paths stay inside, what is broken is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mlcompare.data import load_dataset
from mlcompare.errors import DataError, InvalidValueError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "set" / "sub").mkdir(parents=True)
    for number, name in enumerate(("a.png", "sub/ü b.png", "sub/c.gif")):
        Image.new("L", (6, 5), 50 * number).save(tmp_path / "set" / name)
    Image.new("L", (6, 5), 7).save(tmp_path / "outside.png")
    return tmp_path / "set"


def listed(folder: Path, text: str, **options: object):
    (folder / "list.csv").write_text(text, encoding="utf-8")
    return load_dataset("image_list", **{"path": str(folder / "list.csv"), "size": 4, "channels": 1, **options})


def test_rows_keep_their_order_and_numbers_theirs(folder: Path) -> None:
    text = "\ufeffid,path,label,split\n1,sub/c.gif,10,test\n\n2,a.png,9,train\n3,sub/ü b.png,10,train\n"
    data = listed(folder, text)
    assert data.samples.shape == (3, 1, 4, 4)
    assert data.samples.mean((1, 2, 3)).tolist() == [100, 0, 50]
    assert data.class_names == ("9", "10")
    assert data.labels.tolist() == [1, 0, 1]
    assert data.split.tolist() == ["test", "train", "train"]


def test_parquet_and_csv_agree(folder: Path) -> None:
    rows = {"path": ["a.png", "sub/ü b.png"], "label": [11, 2], "split": ["train", "test"]}
    pd.DataFrame(rows).to_parquet(folder / "list.parquet")
    table = load_dataset("image_list", path=str(folder / "list.parquet"), size=4, channels=1)
    text = listed(folder, "path,label,split\na.png,11,train\nsub/ü b.png,2,test\n")
    assert table.fingerprint == text.fingerprint
    assert table.class_names == text.class_names == ("2", "11")
    assert len(list((folder / ".mlcompare-cache").iterdir())) == 1, "the same images are decoded once"


def test_other_labels_share_the_pixels_but_not_the_fingerprint(folder: Path) -> None:
    one = listed(folder, "path,label\na.png,x\nsub/c.gif,y\n")
    other = listed(folder, "path,label\na.png,x\nsub/c.gif,x\n")
    assert np.array_equal(one.samples, other.samples)
    assert one.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    "name", ["../outside.png", "sub/../../outside.png", "{root}/outside.png", "link.png", "up/a", ""]
)
def test_paths_that_leave_the_folder_are_refused(folder: Path, name: str) -> None:
    (folder / "link.png").symlink_to(folder.parent / "outside.png")
    (folder / "up").symlink_to(folder.parent)
    with pytest.raises(DataError, match=r"stay in it, got .* in row 1"):
        listed(folder, f"path,label\na.png,x\n{name.format(root=folder.parent)},y\n")


def test_a_link_inside_is_followed_but_no_image_counts_twice(folder: Path) -> None:
    (folder / "link.png").symlink_to("a.png")
    assert len(listed(folder, "path,label\nlink.png,x\nsub/c.gif,y\n")) == 2
    with pytest.raises(DataError, match=r"listed once, got 'link.png' in rows 0 and 1"):
        listed(folder, "path,label\na.png,x\nlink.png,y\n")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "columns `path` and `label`.*an empty file"),
        ("file,label\na.png,x\n", "columns `path` and `label`"),
        ("path,label,label\na.png,x,y\n", "a name of its own"),
        ("path,label\n", "at least one image"),
        ("path,label\na.png,x,y\n", "3 in line 2, 2 in the first"),
        ("path,label\na.png,\n", "must have a label"),
        ('path,label\n"a.png,x\n', "must be readable"),
        ("path,label,split\na.png,x,trian\n", "did you mean train"),
        ("path,label\na.png,x\nnone.png,y\nsub,z\n", "got 2 of 3"),
    ],
)
def test_what_is_wrong_with_the_list_is_named(folder: Path, text: str, rule: str) -> None:
    with pytest.raises(DataError, match=rule) as caught:
        listed(folder, text)
    assert "list.csv" in str(caught.value)


def test_corrupt_rows_are_left_out_with_their_labels_and_splits(folder: Path) -> None:
    text = "path,label,split\nnone.png,w,train\na.png,x,train\nsub/c.gif,y,test\n"
    data = listed(folder, text, skip_corrupt=True)
    assert data.class_names == ("x", "y")
    assert data.split.tolist() == ["train", "test"]


def test_files_are_checked(folder: Path) -> None:
    with pytest.raises(DataError, match="nothing there"):
        load_dataset("image_list", path=str(folder / "none.csv"))
    with pytest.raises(InvalidValueError, match="must end in"):
        load_dataset("image_list", path=str(folder / "a.png"))
    (folder / "x.csv").write_bytes(b"path,label\n\xff\xfe,x\n")
    with pytest.raises(DataError, match="UTF-8"):
        load_dataset("image_list", path=str(folder / "x.csv"))
    pd.DataFrame({"path": ["a.png", None], "label": [0, 1]}).to_parquet(folder / "x.parquet")
    with pytest.raises(DataError, match="None in row 1"):
        load_dataset("image_list", path=str(folder / "x.parquet"))
    pd.DataFrame({"path": ["a.png", "sub/c.gif"], "label": ["x", None]}).to_parquet(folder / "x.parquet")
    with pytest.raises(DataError, match="None in row 1"):
        load_dataset("image_list", path=str(folder / "x.parquet"))
