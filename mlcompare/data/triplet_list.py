"""Ready-made pairs and triplets: images that a table says are alike, and others that it says are not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlcompare.data.cache import cache_folders, cached_images, checked_cache
from mlcompare.data.dataset import Dataset, register_dataset
from mlcompare.data.image_list import located
from mlcompare.data.images import checked_channels, checked_max_pixels, checked_size
from mlcompare.data.labels import encode_labels
from mlcompare.data.list_table import read_table
from mlcompare.data.options import checked_flag, checked_path
from mlcompare.errors import DataError

__all__ = ["linked_classes", "triplet_list"]

ALIKE, NEGATIVE = ("anchor", "positive"), "negative"


@register_dataset("triplet_list")
def triplet_list(
    path: str,
    size: tuple[int, int] = (64, 64),
    channels: int = 3,
    skip_corrupt: bool = False,
    max_pixels: int | None = None,
    cache: str | None = None,
) -> Dataset:
    """Images of ready-made pairs or triplets, in a .csv or .parquet file with columns anchor, positive and, optionally,
    negative.

    Each row names an image and one that is alike; images that rows link, directly or by others, are one class. What no
    row links counts as different, whether a row says so (``negative``) or not: every loss and sampler works on these
    classes, and sees each pair that a row names, and those that follow. An image that is alike to none is a class of
    its own. Paths are relative to the list's folder and never lead out of it; an image may stand in many rows.

    Args:
        path: the list.
        size: height and width in pixels that each image is resized to.
        channels: 1 (grey) or 3 (colour).
        skip_corrupt: leave out files that can't be decoded.
        max_pixels: how many pixels an image may have before it counts as corrupt, where Pillow's limit (179 million)
            does not suit.
        cache: folder of the decoded images; by default .mlcompare-cache next to the list.

    Raises:
        InvalidValueError: an option is out of its range.
        DataError: the list is missing or broken, a row's negative is linked with its anchor, a path leads out of its
            folder or to nothing, or files can't be decoded.
    """
    file, place = checked_path(path, place="triplet_list"), f"triplet_list: {path}"
    size, channels = checked_size(size, place=place), checked_channels(channels, place=place)
    skip_corrupt = checked_flag("skip_corrupt", skip_corrupt, place=place)
    max_pixels = checked_max_pixels(max_pixels, place=place)
    folders = cache_folders(file.resolve(), checked_cache(cache, place=place))
    table = read_table(file, ALIKE, paths=(*ALIKE, NEGATIVE), place=place)
    if "split" in table:
        cure = "drop the column; the protocol seals classes"
        raise DataError("a list of pairs brings no split", value="a column `split`", cure=cure, place=place)
    names, classes = linked_classes(table["anchor"], table["positive"], table.get(NEGATIVE), place=place)
    files = located(file.resolve().parent, names, place)
    images = cached_images(
        file.resolve().parent, files, size=size, channels=channels, folders=folders, skip_corrupt=skip_corrupt,
        max_pixels=max_pixels, place=place,
    )  # fmt: skip
    labels, class_names = encode_labels([names[classes[row]] for row in images.rows], place=place)
    paths, fingerprint = tuple(files[row].path for row in images.rows), images.fingerprint(labels)
    return Dataset(
        "triplet_list", images.samples, labels, class_names, fingerprint=fingerprint, paths=paths, notes=images.notes,
        bits=images.bits, cached=images.folder,
    )  # fmt: skip


def linked_classes(
    anchors: Sequence[str], positives: Sequence[str], negatives: Sequence[str | None] | None = None, *,
    place: str = "linked_classes",
) -> tuple[list[str], np.ndarray]:  # fmt: skip
    """Return the names, each once in the order met, and the class of each ``(N,)``: the first name linked with it.

    Args:
        negatives: of each row; empty ones say nothing.

    Raises:
        DataError: a row names no anchor or no positive, or its negative is linked with its anchor.

    >>> names, classes = linked_classes(["a", "b", "x"], ["b", "c", "y"], ["x", "y", "c"])
    >>> names, [names[c] for c in classes]
    (['a', 'b', 'x', 'c', 'y'], ['a', 'a', 'x', 'a', 'x'])
    """
    number: dict[str, int] = {}
    rows = list(zip(anchors, positives, negatives if negatives is not None else [None] * len(anchors), strict=True))
    for name in (name for row in rows for name in row if name):
        number.setdefault(name, len(number))
    empty = next((row for row, (anchor, positive, _) in enumerate(rows) if not (anchor and positive)), None)
    if empty is not None:
        rule = "every row must name an anchor and a positive"
        raise DataError(rule, value=f"none in row {empty}", cure="drop the row", place=place)
    first = list(range(len(number)))

    def root(node: int) -> int:
        while first[node] != node:
            first[node] = first[first[node]]
            node = first[node]
        return node

    for anchor, positive, _ in rows:
        a, b = sorted((root(number[anchor]), root(number[positive])))
        first[b] = a
    classes = np.array([root(node) for node in range(len(first))], dtype=np.int64)
    for row, (anchor, _, negative) in enumerate(rows):
        if negative and classes[number[anchor]] == classes[number[negative]]:
            got = f"{negative!r} in row {row}, which rows link with {anchor!r}"
            cure = "drop the row, or the one that calls them alike"
            raise DataError("a negative must not be alike to its anchor", value=got, cure=cure, place=place)
    return list(number), classes
