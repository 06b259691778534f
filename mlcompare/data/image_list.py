"""Images named by a table: path, label and, where there is one, the official split."""

from __future__ import annotations

import csv
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlcompare.data.arrow_columns import column_labels
from mlcompare.data.cache import ImageFile, cache_folders, cached_images, checked_cache
from mlcompare.data.dataset import Dataset, register_dataset
from mlcompare.data.hints import nothing_there
from mlcompare.data.images import checked_channels, checked_max_pixels, checked_size
from mlcompare.data.labels import encode_labels
from mlcompare.data.official_columns import is_flag, official_split, refuse_other_splits
from mlcompare.data.options import checked_flag, checked_path
from mlcompare.errors import DataError, InvalidValueError

__all__ = ["Listed", "image_list", "located", "read_list"]

NEEDED = ("path", "label")


@dataclass(frozen=True)
class Listed:
    """What a list says, before any image is opened: files, the label of each, the official split ``(N,)`` or None."""

    files: list[ImageFile]
    labels: list[Any]
    split: np.ndarray | None
    notes: tuple[str, ...]


@register_dataset("image_list")
def image_list(
    path: str,
    size: tuple[int, int] = (64, 64),
    channels: int = 3,
    skip_corrupt: bool = False,
    max_pixels: int | None = None,
    cache: str | None = None,
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
    listed = read_list(file, place=place)
    images = cached_images(
        file.resolve().parent, listed.files, size=size, channels=channels, folders=folders, skip_corrupt=skip_corrupt,
        max_pixels=max_pixels, place=place,
    )  # fmt: skip
    labels, names = encode_labels([listed.labels[row] for row in images.rows], place=place)
    kept = None if listed.split is None else listed.split[images.rows]
    paths, fingerprint = tuple(listed.files[row].path for row in images.rows), images.fingerprint(labels)
    return Dataset(
        "image_list", images.samples, labels, names, split=kept, fingerprint=fingerprint, paths=paths,
        notes=(*listed.notes, *images.notes), bits=images.bits,
    )  # fmt: skip


def read_list(file: Path, *, place: str) -> Listed:
    """Read and check a list without opening an image.

    Raises:
        InvalidValueError: the file ends in neither .csv nor .parquet.
        DataError: it is missing or broken, or a path leads out of its folder.
    """
    readers = {".csv": _read_csv, ".parquet": _read_parquet}
    if file.suffix.lower() not in readers:
        raise InvalidValueError("`path` must end in .csv or .parquet", value=repr(file.name), place=place)
    if not file.is_file():
        told = {"value": "a folder"} if file.is_dir() else nothing_there(file)
        raise DataError("the file must exist", place=place, **told)
    table = readers[file.suffix.lower()](file, place)
    if not table["path"]:
        raise DataError("the list must name at least one image", value="none", place=place)
    encode_labels(table["label"], place=place)  # labels and split are checked before anything is decoded
    others = {name: values for name, values in table.items() if name not in (*NEEDED, "split")}
    split, notes = official_split(table, len(table["path"]), place=place)
    if split is None:
        refuse_other_splits(others, place=place)
    return Listed(located(file.resolve().parent, table["path"], place), list(table["label"]), split, notes)


def _read_csv(file: Path, place: str) -> dict[str, Any]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            names = next(reader, [])
            _check_names(names, place)
            rows = []
            for row in reader:
                if row and len(row) != len(names):
                    got = f"{len(row)} in line {reader.line_num}, {len(names)} in the first line"
                    cure = "quote values that hold a comma"
                    raise DataError("every line must have as many values", value=got, cure=cure, place=place)
                rows += [row] if row else []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        cure = "save it as comma-separated UTF-8 text"
        raise DataError("the list must be readable", value=str(error), cure=cure, place=place) from None
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def _read_parquet(file: Path, place: str) -> dict[str, Any]:
    import pyarrow
    from pyarrow import parquet

    try:
        table_file = parquet.ParquetFile(file)
        names = table_file.schema_arrow.names
        _check_names(names, place)
        wanted = [name for name in names if name in (*NEEDED, "split") or is_flag(name) or _is_text(table_file, name)]
        table = table_file.read(columns=wanted, use_threads=False)
        table.validate(full=True)  # text that is no UTF-8, offsets beyond the data
    except DataError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError("the file must be a whole .parquet", value=reason, place=place) from None
    columns: dict[str, Any] = {name: table[name].to_pylist() for name in table.column_names}
    for row, value in enumerate(columns["path"]):
        if not isinstance(value, str):
            raise DataError("every path must be text", value=f"{value!r} in row {row}", place=place)
    return {**columns, "label": column_labels(table["label"], place=place)}


def _is_text(table_file: Any, name: str) -> bool:
    """Whether a column may hold a split: text, or a dictionary of it."""
    import pyarrow

    kind, types = table_file.schema_arrow.field(name).type, pyarrow.types
    kind = kind.value_type if types.is_dictionary(kind) else kind
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _check_names(names: list[str], place: str) -> None:
    missing = [name for name in NEEDED if name not in names]
    if missing or len(set(names)) < len(names):
        rule = "the list must have columns `path` and `label`, each column with a name of its own"
        cure = "name them in the first line"
        raise DataError(rule, value=", ".join(names)[:200] or "an empty file", cure=cure, place=place)


def located(root: Path, paths: list[str], place: str) -> list[ImageFile]:
    """Return the manifest. What leads out of ``root`` is refused, and so is what is listed twice.

    Raises:
        DataError: with the first offenders.
    """
    inside, files = str(root), []
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
        files.append(ImageFile(name, about.st_size if about else -1, about.st_mtime_ns if about else 0))
    return files


def _is_inside(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip(os.sep) + os.sep)


def _outside(name: str, row: int, place: str) -> DataError:
    rule = "each path must be relative to the list's folder and stay in it"
    return DataError(rule, value=f"{name!r} in row {row}", cure="move the list above its images", place=place)
