"""Folders of images: classes, order, what is refused, and the cache that decodes once."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlcompare.data import cache, image_reader, load_dataset
from mlcompare.errors import DataError, InvalidValueError


def draw(path: Path, value: int, *, mode: str = "RGB", size: tuple[int, int] = (9, 7)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value,) * len(mode)).save(path)


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    root = tmp_path / "animals"
    draw(root / "cats" / "b.png", 20)
    draw(root / "cats" / "a.JPG", 10)
    draw(root / "dogs" / "poodle" / "1.bmp", 30)
    draw(root / "dogs" / "pug" / "1.webp", 40)
    draw(root / "Žába 蛙" / "ü.tiff", 50, mode="L")
    (root / "cats" / "notes.txt").write_text("no sample")
    (root / "cats" / ".hidden.png").write_bytes(b"no sample")
    return root


def test_folders_are_classes_and_paths_the_order(animals: Path) -> None:
    data = load_dataset("image_folder", path=str(animals), size=[4, 5])
    assert data.samples.shape == (5, 3, 4, 5)
    assert data.class_names == ("cats", "dogs/poodle", "dogs/pug", "Žába 蛙")
    assert data.labels.tolist() == [0, 0, 1, 2, 3]
    assert np.abs(data.samples.mean((1, 2, 3)) - [10, 20, 30, 40, 50]).max() <= 1
    grey = load_dataset("image_folder", path=str(animals), size=4, channels=1, class_of="top")
    assert grey.samples.shape == (5, 1, 4, 4)
    assert grey.class_names == ("cats", "dogs", "Žába 蛙")


def test_upright_and_sixteen_bits(tmp_path: Path) -> None:
    (tmp_path / "x" / "a").mkdir(parents=True)
    halves = np.zeros((8, 8), np.uint8)
    halves[:, 4:] = 200
    turned = Image.Exif()
    turned[0x0112] = 6  # shown after a quarter turn to the right
    Image.fromarray(halves).save(tmp_path / "x" / "a" / "1.png", exif=turned)
    Image.fromarray(halves.astype(np.uint16) << 8).save(tmp_path / "x" / "a" / "2.png")
    data = load_dataset("image_folder", path=str(tmp_path / "x"), size=8, channels=1)
    assert np.array_equal(data.samples[0, 0], np.rot90(halves, -1))
    assert np.array_equal(data.samples[1, 0], halves)


def test_all_corrupt_files_are_named_at_once(animals: Path) -> None:
    (animals / "cats" / "c.png").write_bytes(b"\x89PNG\r\n\x1a\n nonsense")
    whole = (animals / "dogs" / "pug" / "1.webp").read_bytes()
    (animals / "dogs" / "pug" / "1.webp").write_bytes(whole[: len(whole) // 2])
    (animals / "cats" / "gone.png").symlink_to("nowhere.png")
    with pytest.raises(DataError, match="every image must be readable, got 3 of 7") as caught:
        load_dataset("image_folder", path=str(animals))
    for name in ("c.png", "1.webp", "gone.png", "skip_corrupt"):
        assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    for _again in range(2):
        data = load_dataset("image_folder", path=str(animals), skip_corrupt=True)
        assert data.class_names == ("cats", "dogs/poodle", "Žába 蛙"), "a class left without images is no class"
        assert data.labels.tolist() == [0, 0, 1, 2]


def test_empty_classes_are_refused_or_left_out(animals: Path) -> None:
    (animals / "birds").mkdir()
    with pytest.raises(DataError, match="must hold an image, got birds"):
        load_dataset("image_folder", path=str(animals))
    assert "birds" not in load_dataset("image_folder", path=str(animals), allow_empty=True).class_names


def test_what_is_wrong_with_the_folder_is_named(animals: Path) -> None:
    def refused(kind: type[Exception], rule: str, **options: object) -> None:
        with pytest.raises(kind, match=rule):
            load_dataset("image_folder", **{"path": str(animals), **options})

    refused(DataError, "nothing there", path=str(animals / "none"))
    refused(DataError, "a file", path=str(animals / "cats" / "b.png"))
    refused(InvalidValueError, "1 .grey. or 3", channels=4)
    refused(InvalidValueError, "folder or top", class_of="leaf")
    refused(InvalidValueError, "true or false", skip_corrupt="yes")
    refused(InvalidValueError, "cache", cache=3)
    refused(DataError, "lie in a class folder, got a.JPG, b.png", path=str(animals / "cats"))
    (animals / "dogs" / "again").symlink_to(animals)
    refused(DataError, "contain itself")


def test_the_second_open_neither_decodes_nor_hashes(animals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_dataset("image_folder", path=str(animals))
    monkeypatch.setattr(image_reader, "decode", lambda *_a, **_k: pytest.fail("decoded again"))
    monkeypatch.setattr("mlcompare.data.Dataset._hash", lambda _self: pytest.fail("hashed again"))
    monkeypatch.setattr(cache, "IN_MEMORY", 10)
    second = load_dataset("image_folder", path=str(animals))
    assert second.fingerprint == first.fingerprint
    assert isinstance(second.samples, np.memmap)
    assert not isinstance(first.samples, np.memmap)
    assert np.array_equal(first.samples, second.samples)
    assert [path.name for path in animals.parent.iterdir()].count(".mlcompare-cache") == 1


def test_a_changed_file_is_decoded_again(animals: Path) -> None:
    first = load_dataset("image_folder", path=str(animals))
    draw(animals / "cats" / "b.png", 99)
    os.utime(animals / "cats" / "b.png", (1, 1))
    second = load_dataset("image_folder", path=str(animals))
    assert second.fingerprint != first.fingerprint
    assert abs(second.samples[1].mean() - 99) <= 1


@pytest.mark.parametrize("damage", ["cut", "json", "gone"])
def test_a_damaged_entry_is_built_again(animals: Path, damage: str) -> None:
    first = load_dataset("image_folder", path=str(animals))
    (entry,) = (animals.parent / ".mlcompare-cache").iterdir()
    if damage == "cut":
        (entry / "pixels.npy").write_bytes((entry / "pixels.npy").read_bytes()[:-1])
    elif damage == "json":
        (entry / "entry.json").write_text(json.dumps([1]))
    else:
        (entry / "pixels.npy").unlink()
    second = load_dataset("image_folder", path=str(animals))
    assert np.array_equal(first.samples, second.samples)
    assert list((animals.parent / ".mlcompare-cache").iterdir()) == [entry], "nothing half-built is left behind"


def test_where_the_cache_lies(animals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    load_dataset("image_folder", path=str(animals), cache=str(tmp_path / "mine"))
    assert not (tmp_path / ".mlcompare-cache").exists()
    assert len(list((tmp_path / "mine").iterdir())) == 1
    (tmp_path / ".mlcompare-cache").write_text("a file, so that no folder can be made")
    load_dataset("image_folder", path=str(animals))
    assert len(list((tmp_path / "home" / "mlcompare").iterdir())) == 1
    with pytest.raises(DataError, match="give a folder that can be written"):
        load_dataset("image_folder", path=str(animals), cache=str(tmp_path / ".mlcompare-cache"))


def _load(path: str, out: multiprocessing.Queue) -> None:
    out.put(load_dataset("image_folder", path=path, size=8).fingerprint)


def test_two_processes_build_at_once(tmp_path: Path) -> None:
    for number in range(40):
        draw(tmp_path / "x" / f"{number % 4}" / f"{number}.png", number)
    context = multiprocessing.get_context("fork")
    out = context.Queue()
    builders = [context.Process(target=_load, args=(str(tmp_path / "x"), out)) for _ in range(2)]
    for builder in builders:
        builder.start()
    fingerprints = {out.get(timeout=60) for _ in builders}
    for builder in builders:
        builder.join()
    assert len(fingerprints) == 1
    assert len(list((tmp_path / ".mlcompare-cache").iterdir())) == 1


def test_a_bar_only_for_many_files(animals: Path, capsys: pytest.CaptureFixture) -> None:
    load_dataset("image_folder", path=str(animals))
    assert capsys.readouterr().err == ""
