"""Verification pairs: LFW's list over a folder, insightface's .bin read without trusting it, and the protocol."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tracemalloc
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlcompare.data import Dataset, draw_splits, load_dataset, read_pairs, with_pairs
from mlcompare.data.insightface_bin import read_bin
from mlcompare.errors import DataError, InvalidValueError

LIST = """2\t2
Ann\t1\t2
Bob\t1\t3
Ann\t3\tBob\t2
Cid\t1\tAnn\t1
Cid\t1\t2
Cid\t2\t3
Bob\t1\tCid\t3
Ann\t2\tCid\t1
"""


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    for number, name in enumerate(["Ann", "Bob", "Cid", *(f"Other_{n}" for n in range(8))]):
        for photo in (1, 2, 3):
            file = tmp_path / "faces" / name / f"{name}_{photo:04d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), 20 * number + photo).save(file)
    (tmp_path / "pairs.txt").write_text(LIST)
    return tmp_path


def folder(root: Path) -> Dataset:
    return load_dataset("image_folder", path=str(root / "faces"), size=8, channels=1)


def test_a_list_names_rows_of_the_folder(faces: Path) -> None:
    data = folder(faces)
    pairs = read_pairs(str(faces / "pairs.txt"), data)
    assert pairs.same.tolist() == [True, True, False, False] * 2
    assert pairs.fold.tolist() == [0] * 4 + [1] * 4
    names = [(data.paths[a], data.paths[b]) for a, b in zip(pairs.a, pairs.b)]
    assert names[1] == ("Bob/Bob_0001.png", "Bob/Bob_0003.png")
    assert names[2] == ("Ann/Ann_0003.png", "Bob/Bob_0002.png")
    assert (data.labels[pairs.a] == data.labels[pairs.b]).tolist() == pairs.same.tolist()


def test_everybody_in_the_pairs_is_sealed(faces: Path) -> None:
    data = folder(faces)
    pairs = read_pairs(str(faces / "pairs.txt"), data)
    splits = draw_splits(data.labels, kind="verification_pairs", folds=2, pairs=pairs)
    people = {"Ann", "Bob", "Cid"}
    for fold in splits.folds:
        rest = {data.class_names[label] for label in data.labels[np.concatenate([fold.train, fold.validation])]}
        assert not people & rest
    assert len(splits.development) == 24
    assert splits.test[splits.pairs.a].tolist() == pairs.a.tolist()
    assert splits.test[splits.pairs.b].tolist() == pairs.b.tolist()
    fewer = (faces / "pairs.txt").read_text().replace("Ann\t2\tCid\t1", "Ann\t2\tCid\t2")
    (faces / "pairs.txt").write_text(fewer)
    other = draw_splits(
        data.labels, kind="verification_pairs", folds=2, pairs=read_pairs(str(faces / "pairs.txt"), data)
    )
    assert other.hash != splits.hash
    with pytest.raises(InvalidValueError, match="`pairs` and `kind` must fit"):
        draw_splits(data.labels, kind="verification_pairs")
    with pytest.raises(InvalidValueError, match="`pairs` and `kind` must fit"):
        draw_splits(data.labels, pairs=pairs)


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("2\t2\n", "2\t3\n", "folds × 2 × pairs lines, got 8 lines for the first line '2 3'"),
        ("2\t2\n", "two\n", "first line must say"),
        ("Bob\t1\t3", "Bob\t1\t4", "pairs.txt:3: the dataset must hold every image of the list, got no Bob/Bob_0004"),
        ("Bob\t1\t3", "Bob\tone\t3", "pairs.txt:3: a line must be `name n1 n2`"),
        ("Bob\t1\t3", "Bob 1", "pairs.txt:3: a line must be"),
    ],
)
def test_mistakes_in_a_list_are_named(faces: Path, old: str, new: str, rule: str) -> None:
    (faces / "pairs.txt").write_text(LIST.replace(old, new, 1))
    with pytest.raises(DataError, match=rule):
        read_pairs(str(faces / "pairs.txt"), folder(faces))


def test_a_list_needs_file_names(faces: Path) -> None:
    with pytest.raises(DataError, match="must know the names of its files, got digits; use image_folder"):
        read_pairs(str(faces / "pairs.txt"), load_dataset("digits"))
    with pytest.raises(InvalidValueError, match=r"a .txt or a .bin"):
        read_pairs(str(faces / "pairs.csv"), folder(faces))
    with pytest.raises(DataError, match="nothing there"):
        read_pairs(str(faces / "none.txt"), folder(faces))


def encoded(value: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (12, 12), (value,) * 3).save(out, "PNG")
    return out.getvalue()


IMAGES = [encoded(10 * number) for number in range(8)]
SAME = [True, False, True, False]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", ["lists", "arrays"])
def test_a_bin_brings_its_images(tmp_path: Path, protocol: int, kind: str) -> None:
    content = (IMAGES, SAME)
    if kind == "arrays":
        content = ([np.frombuffer(image, np.uint8) for image in IMAGES], np.array(SAME))
    (tmp_path / "x.bin").write_bytes(pickle.dumps(content, protocol=protocol))
    digits = load_dataset("digits")
    data = with_pairs(digits, str(tmp_path / "x.bin"))
    pairs = read_pairs(str(tmp_path / "x.bin"), data)
    assert data.samples.shape == (1797 + 8, 1, 8, 8)
    assert data.samples[1797:, 0, 0, 0].tolist() == [10 * number for number in range(8)]
    assert (pairs.a.tolist(), pairs.b.tolist()) == ([1797, 1799, 1801, 1803], [1798, 1800, 1802, 1804])
    assert pairs.same.tolist() == SAME
    assert (data.labels[pairs.a] == data.labels[pairs.b]).tolist() == SAME
    assert data.labels[1797:].min() == 10
    assert data.fingerprint != digits.fingerprint
    splits = draw_splits(data.labels, kind="verification_pairs", folds=2, pairs=pairs)
    assert splits.test.tolist() == list(range(1797, 1805))
    assert splits.development.tolist() == list(range(1797))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", ["lists", "arrays"])
def test_the_images_stay_in_the_file(tmp_path: Path, protocol: int, kind: str) -> None:
    """Reading takes memory for one image at a time, whatever the pickle's protocol."""
    rng = np.random.default_rng(0)
    images = [rng.bytes(50_000) for _ in range(200)]
    same = rng.random(100) < 0.5
    content = (images, same.tolist()) if kind == "lists" else ([np.frombuffer(i, np.uint8) for i in images], same)
    (tmp_path / "x.bin").write_bytes(pickle.dumps(content, protocol=protocol))
    tracemalloc.start()
    encoded, decisions = read_bin(tmp_path / "x.bin", "x.bin")
    total = sum(len(image) for image in encoded)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert list(encoded) == images
    assert encoded[7] == images[7]
    assert decisions.tolist() == same.tolist()
    assert total == 200 * 50_000
    if protocol > 0:  # protocol 0 writes each content as a line of text
        assert peak < 1.5e6


def test_a_reference_out_of_the_file_is_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    pickler = pickle.Pickler(out)
    pickler.persistent_id = lambda item: "0 9 BINBYTES" if item == "stolen" else None
    pickler.dump((["stolen", *IMAGES[1:]], SAME))
    (tmp_path / "x.bin").write_bytes(out.getvalue())
    with pytest.raises(DataError, match="outside the file"):
        read_bin(tmp_path / "x.bin", "x.bin")


class Hostile:
    def __init__(self, *call) -> None:
        self.call = call

    def __reduce__(self):
        return self.call


def test_a_hostile_bin_runs_nothing(tmp_path: Path) -> None:
    file, mark = tmp_path / "x.bin", tmp_path / "mark"
    attacks = [
        (os.system, (f"touch {mark}",)),
        (eval, (f"open({str(mark)!r}, 'w')",)),
        (getattr, (np.ndarray, "tofile")),
        (np.dtype, ("O",)),
        (np.frombuffer, (b"1234", np.uint8)),
    ]
    for call in attacks:
        for content in ((Hostile(*call), SAME), (IMAGES, [Hostile(*call)])):
            file.write_bytes(pickle.dumps(content))
            with pytest.raises(DataError, match="a pickle of images and bools, and of nothing else"):
                with_pairs(load_dataset("digits"), str(file))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ((IMAGES[:7], SAME), "two images for each pair, got 7 images for 4 pairs"),
        (([], []), "two images for each pair|other types"),
        (([*IMAGES[:7], "text"], SAME), "other types"),
        ((IMAGES, [0.5] * 4), "other types"),
        (([*IMAGES[:5], b"broken", *IMAGES[6:]], SAME), "every image must be readable, got image 5 of 8"),
        ([1, 2, 3], "a pickle of images and bools"),
    ],
)
def test_mistakes_in_a_bin_are_named(tmp_path: Path, content, rule: str) -> None:
    (tmp_path / "x.bin").write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=rule):
        with_pairs(load_dataset("digits"), str(tmp_path / "x.bin"))


def test_cut_and_random_bytes_are_refused(tmp_path: Path) -> None:
    whole = pickle.dumps((IMAGES, np.array(SAME)))
    rng = np.random.default_rng(0)
    for number in range(60):
        broken = bytearray(whole)
        if number % 2:
            broken = broken[: rng.integers(len(whole))]
        else:
            for place in rng.integers(len(whole), size=20):
                broken[place] = rng.integers(256)
        (tmp_path / "x.bin").write_bytes(broken or struct.pack("B", 0))
        try:
            with_pairs(load_dataset("digits"), str(tmp_path / "x.bin"))
        except DataError:
            continue


def test_many_images_are_mapped_and_decoded_once(tmp_path: Path, monkeypatch) -> None:
    from mlcompare.data import joined, pairs

    (tmp_path / "x.bin").write_bytes(pickle.dumps((IMAGES, SAME)))
    digits = load_dataset("digits")
    small = with_pairs(digits, str(tmp_path / "x.bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(joined, "IN_MEMORY", 0)
    mapped = with_pairs(digits, str(tmp_path / "x.bin"))
    assert isinstance(mapped.samples, np.memmap)
    np.testing.assert_array_equal(mapped.samples, small.samples)
    assert mapped.fingerprint == small.fingerprint
    monkeypatch.setattr(pairs, "read_image", lambda *_args, **_options: pytest.fail("decoded again"))
    again = with_pairs(digits, str(tmp_path / "x.bin"))
    np.testing.assert_array_equal(again.samples, small.samples)
    (tmp_path / "y.bin").write_bytes(pickle.dumps((IMAGES[::-1], SAME)))
    with pytest.raises(pytest.fail.Exception):
        with_pairs(digits, str(tmp_path / "y.bin"))
    assert len(list((tmp_path / "cache/mlcompare").iterdir())) == 1, "nothing half-written is left"


def test_names_may_hold_blanks_where_tabs_part_them(tmp_path: Path) -> None:
    for name in ("Ann Lee", "Bob  2", unicodedata.normalize("NFD", "Zoë 3")):
        for photo in (1, 2):
            file = tmp_path / "faces" / name / f"{name}_{photo:04d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), photo).save(file)
    data = load_dataset("image_folder", path=str(tmp_path / "faces"), size=8, channels=1)
    (tmp_path / "pairs.txt").write_text("1\t1\nAnn Lee\t1\t2\nBob  2\t1\tZoë 3\t2\n")
    pairs = read_pairs(str(tmp_path / "pairs.txt"), data)
    named = [(data.paths[a].split("/")[0], data.paths[b].split("/")[0]) for a, b in zip(pairs.a, pairs.b)]
    assert [tuple(unicodedata.normalize("NFC", name) for name in pair) for pair in named] == [
        ("Ann Lee", "Ann Lee"), ("Bob  2", "Zoë 3"),
    ]  # fmt: skip
    (tmp_path / "pairs.txt").write_text("1 1\nAnn Lee 1 2\nBob  2 1 Zoë 3 2\n")
    with pytest.raises(DataError, match="part them by tabs"):
        read_pairs(str(tmp_path / "pairs.txt"), data)
