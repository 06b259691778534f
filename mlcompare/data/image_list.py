"""Images named by a table: path, label and, where there is one, the official split."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlcompare.data.cache import cache_folders, cached_images, checked_cache
from mlcompare.data.dataset import Dataset, register_dataset
from mlcompare.data.image_files import ImageFiles
from mlcompare.data.images import checked_channels, checked_max_pixels, checked_size
from mlcompare.data.labels import encode_labels
from mlcompare.data.levels import fingerprint_with, groups_of_classes
from mlcompare.data.list_table import read_table
from mlcompare.data.official_columns import official_split, refuse_other_splits
from mlcompare.data.options import checked_flag, checked_names, checked_path
from mlcompare.errors import DataError

__all__ = ["Listed", "image_list", "located", "read_list"]

NEEDED = ("path", "label")


@dataclass(frozen=True)
class Listed:
    """What a list says, before any image is opened: files, the label of each, the official split ``(N,)`` or None.

    ``groups`` holds a column for each level of a hierarchy.
    """

    files: ImageFiles
    labels: list[Any]
    split: np.ndarray | None
    notes: tuple[str, ...]
    groups: dict[str, list[Any]]


@register_dataset("image_list")
def image_list(
    path: str,
    size: tuple[int, int] = (64, 64),
    channels: int = 3,
    skip_corrupt: bool = False,
    max_pixels: int | None = None,
    cache: str | None = None,
    levels: Sequence[str] = (),
) -> Dataset:
    """Images listed in a .csv or .parquet file with columns path, label and, optionally, split; decoded once.

    Paths are relative to the list's folder and never lead out of it. Samples keep the order of the list. Columns
    `train`, `validation`, `test`, `is_query` or `is_gallery` of true and false are an official split too; other columns
    are left alone, unless they hold a split under another name.

    Args:
        path: the list.
        size: height and width in pixels that each image is resized to.
        channels: 1 (grey) or 3 (colour).
        skip_corrupt: leave out files that can't be decoded.
        max_pixels: how many pixels an image may have before it counts as corrupt, where Pillow's limit (179 million)
            does not suit.
        cache: folder of the decoded images; by default .mlcompare-cache next to the list.
        levels: columns of coarser groups that the classes lie in, from the finest to the coarsest.

    Raises:
        InvalidValueError: an option is out of its range.
        DataError: the list is missing or broken, a path leads out of its folder or to nothing, or files can't be
            decoded.
    """
    file, place = checked_path(path, place="image_list"), f"image_list: {path}"
    size, channels = checked_size(size, place=place), checked_channels(channels, place=place)
    skip_corrupt = checked_flag("skip_corrupt", skip_corrupt, place=place)
    max_pixels = checked_max_pixels(max_pixels, place=place)
    folders = cache_folders(file.resolve(), checked_cache(cache, place=place))
    listed = read_list(file, place=place, levels=checked_names("levels", levels, place=place))
    images = cached_images(
        file.resolve().parent, listed.files, size=size, channels=channels, folders=folders, skip_corrupt=skip_corrupt,
        max_pixels=max_pixels, place=place,
    )  # fmt: skip
    labels, names = encode_labels([listed.labels[row] for row in images.rows], place=place)
    kept = None if listed.split is None else listed.split[images.rows]
    columns = {name: [values[row] for row in images.rows] for name, values in listed.groups.items()}
    groups = groups_of_classes(columns, labels, names, place=place)
    paths = tuple(map(listed.files.paths.__getitem__, images.rows.tolist()))
    fingerprint = fingerprint_with(groups, images.fingerprint(labels))
    return Dataset(
        "image_list", images.samples, labels, names, split=kept, fingerprint=fingerprint, paths=paths,
        notes=(*listed.notes, *images.notes), bits=images.bits, cached=images.folder, levels=groups,
    )  # fmt: skip


def read_list(file: Path, *, place: str, levels: Sequence[str] = ()) -> Listed:
    """Read and check a list without opening an image; ``levels`` are further columns that it must have.

    Raises:
        InvalidValueError: the file ends in neither .csv nor .parquet.
        DataError: it is missing or broken, or a path leads out of its folder.
    """
    table = read_table(file, (*NEEDED, *levels), paths=("path",), labels=("label", *levels), place=place)
    labels, names = encode_labels(table["label"], place=place)  # all columns are checked before anything is decoded
    groups = {name: list(table[name]) for name in levels}
    groups_of_classes(groups, labels, names, place=place)
    others = {name: values for name, values in table.items() if name not in (*NEEDED, *levels, "split")}
    split, notes = official_split(table, len(table["path"]), place=place)
    if split is None:
        refuse_other_splits(others, place=place)
    return Listed(located(file.resolve().parent, table["path"], place), list(table["label"]), split, notes, groups)


def located(root: Path, paths: list[str], place: str) -> ImageFiles:
    """Return the manifest. What leads out of ``root`` is refused, and so is what is listed twice.

    Raises:
        DataError: with the first offenders.
    """
    inside = str(root)
    described: list[os.stat_result | None] = []
    parents: dict[str, str] = {}
    seen: dict[str, int] = {}
    for row, name in enumerate(paths):
        if not name or os.path.isabs(name) or "\0" in name or ".." in Path(name).parts:
            raise _outside(name, row, place)
        full = os.path.join(inside, name)
        parent = os.path.dirname(full)
        if parent not in parents:
            parents[parent] = os.path.realpath(parent)
        real = os.path.join(parents[parent], os.path.basename(full))
        try:
            about = os.lstat(real)
            if stat.S_ISLNK(about.st_mode):
                real = os.path.realpath(real)
                about = os.stat(real) if _is_inside(real, inside) else about
        except OSError:
            about = None  # named among the files that can't be read
        if not _is_inside(real, inside):
            raise _outside(name, row, place)
        if real in seen:
            got = f"{name!r} in rows {seen[real]} and {row}"
            raise DataError("each image must be listed once", value=got, cure="drop one of the rows", place=place)
        seen[real] = row
        described.append(about)
    files = ImageFiles()
    files.extend(paths, described)
    return files


def _is_inside(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip(os.sep) + os.sep)


def _outside(name: str, row: int, place: str) -> DataError:
    rule = "each path must be relative to the list's folder and stay in it"
    return DataError(rule, value=f"{name!r} in row {row}", cure="move the list above its images", place=place)
