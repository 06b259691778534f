"""What readers of published image sets share: tables of text, listed images, and class splits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlcompare.data.cache import cache_folders, cached_images, checked_cache
from mlcompare.data.dataset import Dataset
from mlcompare.data.image_list import located
from mlcompare.data.images import checked_channels, checked_size
from mlcompare.data.labels import encode_labels
from mlcompare.data.options import checked_path
from mlcompare.errors import DataError, InvalidValueError

__all__ = ["check_split", "checked_folder", "listed_images", "read_table", "second_half"]

SHOWN = 3
SPLITS = ("classes", "images")


def checked_folder(path: object, inner: str, *, name: str) -> Path:
    """Return the folder ``inner`` below ``path``, or ``path`` where that is the folder itself.

    Raises:
        InvalidValueError: the path is not text.
    """
    root = checked_path(path, place=name)
    return root if root.name == inner and not (root / inner).is_dir() else root / inner


def check_split(split: object, *, place: str) -> None:
    """Refuse a split that is neither by `classes`, as is usual in retrieval, nor by `images`, the authors'.

    Raises:
        InvalidValueError: it is another one.
    """
    if split not in SPLITS:
        raise InvalidValueError(f"`split` must be {' or '.join(SPLITS)}", value=repr(split), place=place)


def second_half(classes: Sequence[int]) -> list[bool]:
    """Return whether each class belongs to the second half of all classes, which tests where the first half trains.

    >>> second_half([4, 1, 3, 2, 1])
    [True, False, True, False, False]
    """
    known = sorted(set(classes))
    first = set(known[: len(known) // 2])
    return [number not in first for number in classes]


def read_table(file: Path, columns: Sequence[Callable[[str], Any]], *, header: int = 0, place: str) -> list[tuple]:
    """Return the lines of a table whose values stand apart by spaces; the last column takes the rest of its line.

    Args:
        columns: what each value is made with, such as ``int``.
        header: lines that are skipped.

    Raises:
        DataError: the file is missing, or a line is not as it should be.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()[header:]
    except (OSError, UnicodeDecodeError) as error:
        got = getattr(error, "strerror", None) or str(error)
        raise DataError("the file must be readable text", value=got, place=f"{place}: {file.name}") from None
    rows = []
    for number, line in enumerate(lines, start=header + 1):
        if not line.strip():
            continue
        try:
            rows.append(
                tuple(make(value) for make, value in zip(columns, line.split(None, len(columns) - 1), strict=True))
            )
        except ValueError:
            rule = f"each line must hold {len(columns)} values ({', '.join(make.__name__ for make in columns)})"
            raise DataError(rule, value=repr(line[:80]), place=f"{place}: {file.name}:{number}") from None
    if not rows:
        raise DataError("the file must hold a line for each sample", value="none", place=f"{place}: {file.name}")
    return rows


def listed_images(
    name: str, root: Path, paths: Sequence[str], classes: Sequence[str], test: Iterable[bool], *, size: Any,
    channels: Any, cache: Any, place: str, credit: str,
) -> Dataset:  # fmt: skip
    """Return the dataset of images that a published list names; decoded once.

    Args:
        paths: relative to ``root``.
        classes: the class of each.
        test: whether each belongs to the official test part.

    Raises:
        DataError: images are missing or can't be decoded, or a path leads out of ``root``.
    """
    size, channels = checked_size(size, place=place), checked_channels(channels, place=place)
    folders = cache_folders(root.resolve(), checked_cache(cache, place=place))
    files = located(root.resolve(), list(paths), place)
    missing = [file.path for file in files if file.size < 0]
    if missing:
        got = f"{len(missing)} of {len(files)} missing: {', '.join(missing[:SHOWN])}{' …' * (len(missing) > SHOWN)}"
        raise DataError(f"every listed image must be in {root}", value=got, cure="unpack it again", place=place)
    try:
        images = cached_images(
            root, files, size=size, channels=channels, folders=folders, skip_corrupt=False, place=place
        )
    except DataError as error:  # these readers leave nothing out, and let nothing larger in
        cure = "unpack it again" if error.rule.startswith("every image") else error.cure
        raise DataError(error.rule, value=error.value, cure=cure, place=place) from None
    labels, names = encode_labels(list(classes), place=place)
    split = np.where(np.fromiter(test, bool, len(labels)), "test", "train")
    return Dataset(
        name, images.samples, labels, names, split, credit, images.fingerprint(labels), notes=images.notes,
        bits=images.bits, cached=images.folder,
    )  # fmt: skip
