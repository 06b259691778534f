"""Verification pairs: which two images are of one person. Lists as LFW has them, and insightface's .bin files."""

from __future__ import annotations

import hashlib
import io
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from mlcompare.data.dataset import Dataset
from mlcompare.data.hints import nothing_there
from mlcompare.data.images import read_image
from mlcompare.data.insightface_bin import EncodedImages, read_bin
from mlcompare.data.joined import joined_images
from mlcompare.errors import DataError, InvalidValueError

__all__ = ["Pairs", "read_pairs", "with_pairs"]

FOLDS = 10


@dataclass(frozen=True)
class Pairs:
    """Pairs of rows ``a, b (P,)``, whether they are of one class ``same (P,)``, and the fold of each ``fold (P,)``."""

    a: np.ndarray
    b: np.ndarray
    same: np.ndarray
    fold: np.ndarray


def read_pairs(path: str, dataset: Dataset) -> Pairs:
    """Read verification pairs: a ``.txt`` list over the dataset's own images, or a ``.bin`` that brings its images.

    A list is LFW's pairs.txt: a line ``folds pairs-of-each-kind`` (or only the latter, for one fold), then for each
    fold the lines ``name n1 n2`` of one person, and ``name1 n1 name2 n2`` of two, parted by tabs where a line has any
    (names may then hold blanks), else by blanks. Number 7 of Name is the image ``Name/Name_0007`` or ``Name/7`` of the
    dataset, whatever its ending.

    Args:
        dataset: with the names of its files (``image_folder``, ``image_list``); for a ``.bin`` what :func:`with_pairs`
            returned.

    Raises:
        InvalidValueError: another ending.
        DataError: the file is missing or broken, or names an image that the dataset doesn't have.
    """
    file, place = _checked(path)
    if file.suffix == ".txt":
        return _from_list(file, dataset, place)
    same = read_bin(file, place)[1]
    first = len(dataset) - 2 * len(same)
    rows = first + np.arange(2 * len(same))
    return Pairs(rows[::2], rows[1::2], same, np.arange(len(same)) * FOLDS // len(same))  # consecutive, as is usual


def with_pairs(dataset: Dataset, path: str) -> Dataset:
    """Return the dataset with the images of a ``.bin`` appended; a ``.txt`` list brings none.

    The file doesn't say who is on an image: images joined by pairs of one person are a class of their own. They are
    decoded one at a time; where all samples are too many for memory, they lie in a file in the user's cache.

    Raises:
        InvalidValueError: another ending.
        DataError: the file is missing or broken, or the dataset holds features.
    """
    file, place = _checked(path)
    if file.suffix == ".txt":
        return dataset
    if dataset.levels:
        got, cure = ", ".join(dataset.levels), "leave out the dataset's levels"
        raise DataError("people of a .bin lie in no group", value=got, cure=cure, place=place)
    if not dataset.is_images:
        raise DataError("a .bin holds images, so the dataset must too", value="features", place=place)
    encoded, same = read_bin(file, place)
    with file.open("rb") as stream:
        key = f"{dataset.fingerprint} {hashlib.file_digest(stream, 'sha256').hexdigest()} {dataset.sample_shape}"
    images = _decoded(encoded, dataset.sample_shape, place)
    samples = joined_images(dataset.samples, images, len(encoded), key=key, place=place)
    person = np.arange(len(encoded))
    person[1::2][same] = person[::2][same]
    _, person = np.unique(person, return_inverse=True)
    labels = np.concatenate([dataset.labels, len(dataset.class_names) + person])
    names = (*dataset.class_names, *(f"{file.name}:{number}" for number in range(person.max() + 1)))
    split = None if dataset.split is None else np.concatenate([dataset.split, np.full(len(encoded), "test")])
    return replace(
        dataset, samples=samples, labels=labels, class_names=names, split=split,
        paths=None, fingerprint="",
    )  # fmt: skip


def _decoded(encoded: EncodedImages, shape: tuple[int, ...], place: str) -> Iterator[np.ndarray]:
    channels, height, width = shape
    for row, content in enumerate(encoded):
        try:
            yield read_image(io.BytesIO(content), (height, width), channels=channels)
        except DataError:
            raise DataError(
                "every image must be readable", value=f"image {row} of {len(encoded)}", place=place
            ) from None


def _checked(path: object) -> tuple[Path, str]:
    if not isinstance(path, str) or Path(path).suffix not in (".txt", ".bin"):
        raise InvalidValueError("`pairs` must be the path of a .txt or a .bin file", value=repr(path), place="pairs")
    file = Path(path).expanduser()
    if not file.is_file():
        told = {"value": "a folder"} if file.is_dir() else nothing_there(file)
        raise DataError("the file must exist", place=f"pairs: {path}", **told)
    return file, f"pairs: {path}"


def _from_list(file: Path, dataset: Dataset, place: str) -> Pairs:
    if dataset.paths is None:
        cure = "use image_folder or image_list"
        raise DataError("the dataset must know the names of its files", value=dataset.name, cure=cure, place=place)
    rows = {_stem(path): row for row, path in enumerate(dataset.paths)}
    try:
        lines = [_words(line) for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        header = [int(value) for value in lines[0]]
    except (OSError, ValueError, IndexError):
        raise DataError(
            "the first line must say how many folds and pairs there are", value="other", place=place
        ) from None
    folds, each = header if len(header) == 2 else (1, header[0])
    if len(header) > 2 or min(folds, each) < 1 or len(lines) - 1 != 2 * folds * each:
        got = f"{len(lines) - 1} lines for the first line {' '.join(map(str, header))!r}"
        raise DataError("there must be folds × 2 × pairs lines", value=got, cure="fetch the list again", place=place)
    found = []
    for number, words in enumerate(lines[1:], start=2):
        where = f"{place}:{number}"
        if len(words) not in (3, 4) or not all(word.isdecimal() for word in words[1::2] + words[2:][: len(words) == 3]):
            rule = "a line must be `name n1 n2` or `name1 n1 name2 n2`"
            cure = "part them by tabs where names hold blanks"
            raise DataError(rule, value=" ".join(words)[:80], cure=cure, place=where)
        one, two = (words[0], words[1]), (words[0], words[2]) if len(words) == 3 else (words[2], words[3])
        found.append((_row(one, rows, where), _row(two, rows, where), len(words) == 3))
    a, b, same = (np.array(column) for column in zip(*found))
    return Pairs(a, b, same, np.repeat(np.arange(folds), 2 * each))


def _words(line: str) -> list[str]:
    return [word.strip() for word in line.strip().split("\t")] if "\t" in line.strip() else line.split()


def _stem(path: str) -> str:
    parts = PurePosixPath(path).with_suffix("").parts
    return unicodedata.normalize("NFC", "/".join(parts[-2:]))


def _row(image: tuple[str, str], rows: dict[str, int], place: str) -> int:
    name, number = unicodedata.normalize("NFC", image[0]), image[1]
    for stem in (f"{name}/{name}_{int(number):04d}", f"{name}/{int(number)}"):
        if stem in rows:
            return rows[stem]
    wanted = f"{name}/{name}_{int(number):04d}"
    raise DataError("the dataset must hold every image of the list", value=f"no {wanted}", place=place)
