"""IDX files: the real MNIST, exactly shaped small ones, and bytes that only look like one."""

from __future__ import annotations

import contextlib
import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlcompare.data import draw_splits, load_dataset
from mlcompare.data.idx import read_idx
from mlcompare.errors import DataError, InvalidValueError, MLCompareError

MNIST = Path(__file__).parents[2] / ".." / "shared" / "data" / "mnist"


def packed(array: np.ndarray, kind: int = 0x08) -> bytes:
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_set(folder: Path, *, joint: str = "-", ending: str = "", size: tuple[int, int] = (5, 4)) -> None:
    pack = gzip.compress if ending else bytes
    for part, count in (("train", 8), ("t10k", 4)):
        images = np.random.default_rng(count).integers(0, 256, (count, *size), dtype=np.uint8)
        labels = (np.arange(count, dtype=np.uint8) % 4) + 1  # counted from 1, as EMNIST's letters are
        (folder / f"{part}-images{joint}idx3-ubyte{ending}").write_bytes(pack(packed(images)))
        (folder / f"{part}-labels{joint}idx1-ubyte{ending}").write_bytes(pack(packed(labels)))


@pytest.mark.skipif(not MNIST.is_dir(), reason="the real MNIST is not here")
def test_mnist_is_read_with_its_official_split() -> None:
    data = load_dataset("idx", path=str(MNIST))
    assert data.samples.shape == (70_000, 1, 28, 28)
    assert data.class_names == tuple("0123456789")
    assert (data.split == "test").sum() == 10_000
    assert data.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert data.labels[60_000:60_005].tolist() == [7, 2, 1, 0, 4]
    assert np.isclose(data.samples[:60_000].mean() / 255, 0.1307, atol=1e-4)
    splits = draw_splits(data.labels, kind="closed_set", folds=2, official=data.split)
    assert splits.test.tolist() == list(range(60_000, 70_000))


def test_the_first_training_samples_of_each_class_can_be_kept(tmp_path: Path) -> None:
    write_set(tmp_path)
    whole, few = (load_dataset("idx", path=str(tmp_path), **o) for o in ({}, {"samples_per_class": 1}))
    assert few.labels.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert few.split.tolist() == ["train"] * 4 + ["test"] * 4
    assert np.array_equal(few.samples, np.concatenate([whole.samples[:4], whole.samples[8:]]))
    assert len(load_dataset("idx", path=str(tmp_path), samples_per_class=99)) == 12
    for wrong in (0, True, 2.0):
        for option in ("samples_per_class", "test_samples_per_class"):
            with pytest.raises(InvalidValueError, match=f"`{option}` must be a whole number, 1 or more"):
                load_dataset("idx", path=str(tmp_path), **{option: wrong})


def test_the_first_test_samples_of_each_class_can_be_kept(tmp_path: Path) -> None:
    write_set(tmp_path)
    for old, new in (("train", "t10k"), ("t10k", "train")):  # eight test samples, four to train on
        for file in [*tmp_path.glob(f"{old}-*")]:
            file.rename(tmp_path / f"moved{new}{file.name.removeprefix(old)}")
    for file in [*tmp_path.glob("moved*")]:
        file.rename(tmp_path / file.name.removeprefix("moved"))
    whole, few = (load_dataset("idx", path=str(tmp_path), **o) for o in ({}, {"test_samples_per_class": 1}))
    assert whole.split.tolist() == ["train"] * 4 + ["test"] * 8
    assert few.split.tolist() == ["train"] * 4 + ["test"] * 4
    assert np.array_equal(few.samples, whole.samples[:8])
    assert few.labels.tolist() == [0, 1, 2, 3] * 2


@pytest.mark.parametrize(("joint", "ending"), [("-", ""), ("-", ".gz"), (".", ""), (".", ".gz")])
def test_plain_and_packed_files_under_both_names(tmp_path: Path, joint: str, ending: str) -> None:
    write_set(tmp_path, joint=joint, ending=ending)
    data = load_dataset("idx", path=str(tmp_path))
    assert data.samples.shape == (12, 1, 5, 4)
    assert data.class_names == ("1", "2", "3", "4")
    assert data.split.tolist() == ["train"] * 8 + ["test"] * 4
    expected = np.random.default_rng(8).integers(0, 256, (8, 5, 4), dtype=np.uint8)
    assert np.array_equal(data.samples[:8, 0], expected)


@pytest.mark.parametrize(("kind", "dtype"), [(0x09, ">i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")])
def test_every_type_comes_in_the_machines_byte_order(tmp_path: Path, kind: int, dtype: str) -> None:
    array = np.array([[1, -2], [3, 100]], dtype)
    (tmp_path / "x").write_bytes(packed(array, kind))
    read = read_idx(tmp_path / "x")
    assert read.dtype.isnative
    assert np.array_equal(read, array)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="`path` is needed"):
        load_dataset("idx")
    with pytest.raises(DataError, match="must be a folder, got nothing there"):
        load_dataset("idx", path=str(tmp_path / "none"))
    write_set(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="got no t10k-labels-idx1-ubyte; put"):
        load_dataset("idx", path=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "rule"),
    [
        ("train-images-idx3-ubyte", b"", "an empty file"),
        ("train-images-idx3-ubyte", b"\x89PNG\r\n", "must start with"),
        ("train-images-idx3-ubyte", packed(np.zeros((8, 5, 4), np.uint8))[:-1], "what its header says"),
        ("train-images-idx3-ubyte", packed(np.zeros((8, 5, 4), np.uint8)) + b"x", "what its header says"),
        ("train-images-idx3-ubyte", packed(np.zeros((8, 5), np.uint8)), "unsigned bytes"),
        ("train-images-idx3-ubyte", packed(np.zeros((8, 5, 3), np.uint8)), "one size"),
        ("train-images-idx3-ubyte", b"\0\0\x08\x03" + b"\xff" * 12, "what its header says"),
        ("train-images-idx3-ubyte", gzip.compress(b"\0\0\x08\x03" + b"\xff" * 12, mtime=0), "what its header says"),
        (
            "train-images-idx3-ubyte",
            gzip.compress(packed(np.zeros((8, 5, 4), np.uint8)), mtime=0)[:-9],
            "must be readable",
        ),
        ("train-labels-idx1-ubyte", packed(np.zeros(7, np.uint8)), "one for each image"),
    ],
)
def test_what_is_broken_is_named(tmp_path: Path, name: str, content: bytes, rule: str) -> None:
    write_set(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rule) as caught:
        load_dataset("idx", path=str(tmp_path))
    assert str(tmp_path) in str(caught.value)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.sampled_from([b"", b"\0\0", b"\0\0\x08\x01", b"\0\0\x08\x03\0\0\0\x02", b"\x1f\x8b\x08", b"\0\0\x0e\x02"]),
    rest=st.binary(max_size=60),
    zipped=st.booleans(),
)
def test_malformed_bytes_raise_only_our_errors(tmp_path: Path, start: bytes, rest: bytes, zipped: bool) -> None:
    content = gzip.compress(start + rest) if zipped else start + rest
    (tmp_path / "x").write_bytes(content)
    with contextlib.suppress(MLCompareError):
        assert read_idx(tmp_path / "x").nbytes <= len(start + rest)
