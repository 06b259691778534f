"""IDX files: MNIST, Fashion-MNIST, KMNIST and all that come in their shape."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from mlcompare.data.dataset import Dataset, register_dataset
from mlcompare.data.hints import nothing_there
from mlcompare.data.labels import encode_labels
from mlcompare.data.options import checked_path
from mlcompare.errors import DataError, InvalidValueError
from mlcompare.grouped import rows_by_class

__all__ = ["PARTS", "found_parts", "idx", "read_idx"]

PARTS = {"train": "train", "t10k": "test"}  # file name → official split
TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
DEFLATE_RATIO = 1100  # deflate never shrinks below 1/1032 of the content
MOST_DIMENSIONS = 4


@register_dataset("idx")
def idx(path: str, samples_per_class: int | None = None, test_samples_per_class: int | None = None) -> Dataset:
    """IDX files as MNIST comes in (plain or .gz): train and t10k are the official split.

    Args:
        path: the folder that holds train-images-idx3-ubyte, train-labels-idx1-ubyte and the same for t10k.
        samples_per_class: how many training samples of each class are kept, the first ones; all by default.
        test_samples_per_class: the same of the test samples, where ten thousand take too long to score.

    Raises:
        InvalidValueError: the path is not text, or the number is below 1.
        DataError: a file is missing or broken, or images and labels don't fit.
    """
    folder, place = checked_path(path, place="idx"), f"idx: {path}"
    most = {"train": samples_per_class, "test": test_samples_per_class}
    for name, count in zip(("samples_per_class", "test_samples_per_class"), most.values()):
        if count is not None and (type(count) is not int or count < 1):
            raise InvalidValueError(
                f"`{name}` must be a whole number, 1 or more", value=f"{name}={count!r}", place=place
            )
    if not folder.is_dir():
        cure = "give the folder of the IDX files"
        told = {"value": "a file", "cure": cure} if folder.exists() else nothing_there(folder, cure)
        raise DataError("`path` must be a folder", place=place, **told)
    files = found_parts(folder)
    wanted = [(part, kind) for part in PARTS for kind in ("images", "labels")]
    missing = [f"{part}-{kind}-idx{_dimensions(kind)}-ubyte" for part, kind in wanted if (part, kind) not in files]
    if missing:
        cure = "put them there, plain or as .gz"
        raise DataError("the folder must hold all four files", value=f"no {', '.join(missing)}", cure=cure, place=place)
    images, labels, split = [], [], []
    for part, name in PARTS.items():
        pixels, marks = _read_part(files[part, "images"], files[part, "labels"])
        count = most[name]
        if count is not None:
            kept = _first_of_each(marks, count)
            pixels, marks = pixels[kept], marks[kept]
        images.append(pixels)
        labels.append(marks)
        split += [name] * len(pixels)
    if images[0].shape[1:] != images[1].shape[1:]:
        got = " and ".join(f"{pixels.shape[1]} × {pixels.shape[2]}" for pixels in images)
        raise DataError("train and t10k images must have one size", value=got, place=place)
    encoded, names = encode_labels(np.concatenate(labels), place=place)
    return Dataset("idx", np.concatenate(images)[:, None], encoded, names, split=np.array(split))  # (N, 1, H, W)


def _first_of_each(marks: np.ndarray, count: int) -> np.ndarray:
    """Return the rows of the first ``count`` samples of each class, in order."""
    codes = np.unique(marks, return_inverse=True)[1]
    return np.sort(np.concatenate([rows[:count] for rows in rows_by_class(codes)]))


def _dimensions(kind: str) -> int:
    return 3 if kind == "images" else 1


def found_parts(folder: Path) -> dict[tuple[str, str], Path]:
    """Return those of the four files that a folder holds, by part (train, t10k) and kind (images, labels)."""
    looked_for = {(part, kind): _find(folder, part, kind) for part in PARTS for kind in ("images", "labels")}
    return {key: file for key, file in looked_for.items() if file is not None}


def _find(folder: Path, part: str, kind: str) -> Path | None:
    """Return the file under its usual name or the one that unpacking by hand leaves, plain before ``.gz``."""
    for joint in "-.":
        for ending in ("", ".gz"):
            file = folder / f"{part}-{kind}{joint}idx{_dimensions(kind)}-ubyte{ending}"
            if file.is_file():
                return file
    return None


def _read_part(images: Path, labels: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(N, H, W)`` uint8 pixels and ``(N,)`` whole numbers."""
    pixels, marks = read_idx(images), read_idx(labels)
    if pixels.ndim != 3 or pixels.dtype != np.uint8 or pixels.size == 0:
        got = f"{pixels.dtype} {pixels.shape}"
        raise DataError("images must be unsigned bytes (N, H, W)", value=got, place=f"idx: {images}")
    if marks.shape != pixels.shape[:1] or marks.dtype.kind not in "iu":
        got = f"{marks.dtype} {marks.shape} for {len(pixels)} images"
        raise DataError("labels must be whole numbers, one for each image", value=got, place=f"idx: {labels}")
    return pixels, marks


def read_idx(file: str | Path) -> np.ndarray:
    """Read one IDX file, plain or gzip (told by its first bytes), in the machine's byte order.

    No size is taken on trust: what the header declares must be what the file holds, to the byte.

    Raises:
        DataError: the file is missing or broken.
    """
    place, file = f"idx: {file}", Path(file)
    try:
        size = file.stat().st_size
        with file.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if packed:
                with gzip.open(raw) as stream:
                    return _read(stream, size * DEFLATE_RATIO, place)
            return _read(raw, size, place)
    except DataError:
        raise
    except (OSError, EOFError, zlib.error, struct.error) as error:
        reason = f"{type(error).__name__}: {error}"
        raise DataError("the file must be readable", value=reason, cure="fetch it again", place=place) from None


def _read(stream: IO[bytes] | gzip.GzipFile, most: int, place: str) -> np.ndarray:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in TYPES or not 1 <= magic[3] <= MOST_DIMENSIONS:
        rule = f"an IDX file must start with 0, 0, its type and 1 to {MOST_DIMENSIONS} dimensions"
        raise DataError(rule, value=magic.hex(" ") or "an empty file", place=place)
    dtype = np.dtype(TYPES[magic[2]])
    shape = struct.unpack(f">{magic[3]}I", stream.read(4 * magic[3]))
    declared = math.prod(shape) * dtype.itemsize
    if declared > most:
        got = f"{' × '.join(map(str, shape))} declared, room for {most} bytes at most"
        raise DataError("the file must hold what its header says", value=got, cure="fetch it again", place=place)
    content = stream.read(declared + 1)
    if len(content) != declared:
        got = f"{' × '.join(map(str, shape))} declared, {'more' if len(content) > declared else len(content)} bytes"
        raise DataError("the file must hold what its header says", value=got, cure="fetch it again", place=place)
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="))
