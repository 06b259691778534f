"""A folder of images whose sub-folders are the classes."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mlcompare.data.cache import cache_folders, cached_images, checked_cache
from mlcompare.data.counted import shown_name
from mlcompare.data.dataset import Dataset, register_dataset
from mlcompare.data.hints import nothing_there
from mlcompare.data.image_files import ImageFiles
from mlcompare.data.images import checked_channels, checked_max_pixels, checked_size, readable_endings
from mlcompare.data.labels import encode_labels
from mlcompare.data.levels import fingerprint_with, groups_of_classes, levels_above
from mlcompare.data.listing import Listing, listings
from mlcompare.data.options import checked_flag, checked_names, checked_path
from mlcompare.data.skipped import SPLIT_FOLDERS, LeftOut, is_systems_own
from mlcompare.errors import DataError, InvalidValueError

__all__ = ["CLASS_OF", "check_layout", "classes_of", "image_folder", "scan"]

CLASS_OF = ("folder", "top")


@register_dataset("image_folder")
def image_folder(
    path: str,
    size: tuple[int, int] = (64, 64),
    channels: int = 3,
    class_of: str = "folder",
    skip_corrupt: bool = False,
    allow_empty: bool = False,
    max_pixels: int | None = None,
    cache: str | None = None,
    levels: Sequence[str] = (),
) -> Dataset:
    """Images in class sub-folders, in any format that Pillow reads; decoded once.

    Hidden files, what systems leave behind (`@eaDir`, `__MACOSX`, `Thumbs.db`, …) and files without an image's ending
    are no samples; they are counted. Samples are ordered by their relative paths. A folder of nothing but `train`,
    `test` and perhaps `val` is read as the official split, with the classes below them.

    Args:
        path: the folder.
        size: height and width in pixels that each image is resized to.
        channels: 1 (grey) or 3 (colour).
        class_of: `folder`: the folder an image lies in, nested or not, such as dogs/poodle; `top`: the first folder
            below the path, such as dogs.
        skip_corrupt: leave out files that can't be decoded.
        allow_empty: leave out class folders without an image.
        max_pixels: how many pixels an image may have before it counts as corrupt, where Pillow's limit (179 million)
            does not suit.
        cache: folder of the decoded images; by default .mlcompare-cache next to the data.
        levels: names of the folders above a class's own, the nearest first: of mammals/dogs/poodle `[kind, realm]` are
            mammals/dogs and mammals.

    Raises:
        InvalidValueError: an option is out of its range.
        DataError: the folder is missing, holds no classes, or holds files that can't be decoded.
    """
    root, place = checked_path(path, place="image_folder"), f"image_folder: {path}"
    size, channels = checked_size(size, place=place), checked_channels(channels, place=place)
    skip_corrupt = checked_flag("skip_corrupt", skip_corrupt, place=place)
    max_pixels = checked_max_pixels(max_pixels, place=place)
    folders = cache_folders(root.resolve(), checked_cache(cache, place=place))
    if class_of not in CLASS_OF:
        raise InvalidValueError(f"`class_of` must be {' or '.join(CLASS_OF)}", value=repr(class_of), place=place)
    above = checked_names("levels", levels, place=place)
    if above and class_of != "folder":
        rule, cure = "levels are the folders above a class's own", "leave out class_of, or levels"
        raise InvalidValueError(rule, value=f"class_of: {class_of}", cure=cure, place=place)
    if not root.is_dir():
        told = {"value": "a file"} if root.exists() else nothing_there(root)
        raise DataError("`path` must be a folder of class folders", place=place, **told)
    left_out = LeftOut()
    files, empty = scan(root, place=place, left_out=left_out)
    check_layout(files, empty, allow_empty=checked_flag("allow_empty", allow_empty, place=place), place=place)
    images = cached_images(
        root, files, size=size, channels=channels, folders=folders, skip_corrupt=skip_corrupt, max_pixels=max_pixels,
        place=place,
    )  # fmt: skip
    paths = tuple(map(files.paths.__getitem__, images.rows.tolist()))
    classes, split = classes_of(paths, class_of, place=place)
    labels, names = encode_labels(classes, place=place)
    groups = groups_of_classes(levels_above(classes, above, place=place), labels, names, place=place)
    notes = [note for note in (left_out.sentence(), *images.notes, _told(split)) if note]
    return Dataset(
        "image_folder", images.samples, labels, names, split, paths=paths, notes=tuple(notes), bits=images.bits,
        fingerprint=fingerprint_with(groups, images.fingerprint(labels)), levels=groups, cached=images.folder,
    )  # fmt: skip


def classes_of(paths: Sequence[str], class_of: str, *, place: str) -> tuple[list[str], np.ndarray | None]:
    """Return the class of each image, and the official split where the top folders are one.

    Raises:
        DataError: images lie in no class folder, or other folders lie beside those of a split.
    """
    folders = [path.rpartition("/")[0] for path in paths]
    split = _official_split(folders, place)
    inner = folders if split is None else [folder.partition("/")[2] for folder in folders]
    if "" in inner:
        loose = [path for path, folder in zip(paths, inner) if not folder]
        cure = "move them into class folders, or rename the folder if `train` and `test` are classes"
        raise DataError(
            "each image of a split must lie in a class folder", value=_listed(loose), cure=cure, place=place
        )
    names = {folder: shown_name(folder if class_of == "folder" else folder.partition("/")[0]) for folder in set(inner)}
    return [names[folder] for folder in inner], split


def _official_split(folders: Sequence[str], place: str) -> np.ndarray | None:
    """Return the split that the top folders name, where all of them do and training and test are among them."""
    top_of = {folder: folder.partition("/")[0].lower() for folder in set(folders)}
    if not {SPLIT_FOLDERS.get(top, "") for top in top_of.values()} >= {"train", "test"}:
        return None
    tops = [top_of[folder] for folder in folders]
    others = sorted(set(tops) - set(SPLIT_FOLDERS))
    if others:
        inner: dict[str, set[str]] = {}
        for folder, top in top_of.items():
            inner.setdefault(top, set()).add(folder.partition("/")[2])
        repeated = {name for a, b in itertools.combinations(inner.values(), 2) for name in a & b} - {""}
        if repeated:
            rule = "folders train and test are an official split only where nothing else lies beside them"
            got = f"{', '.join(others[:3])} beside them, and {sorted(repeated)[0]} in several of them"
            raise DataError(rule, value=got, cure="move the others away, or rename the folders", place=place)
        return None
    return np.array([SPLIT_FOLDERS[top] for top in tops])


def _told(split: np.ndarray | None) -> str:
    if split is None:
        return ""
    parts = ", ".join(np.unique(split))
    return f"the top folders ({parts}) are read as the official split (protocol.test_classes: official)"


def check_layout(files: ImageFiles, empty: list[str], *, allow_empty: bool, place: str) -> None:
    """Refuse a folder without images, with images in no class, or, unless they are allowed, with empty classes.

    Raises:
        DataError: with the first of them.
    """
    if empty and not allow_empty:
        cure = "fill or remove them, or leave them out with allow_empty: true"
        raise DataError("each class folder must hold an image", value=_listed(empty), cure=cure, place=place)
    if not files:
        cure = "put the images of each class in a folder of its own"
        raise DataError("the folder must hold class folders with images", value="none", cure=cure, place=place)
    loose = [path for path in files.paths if "/" not in path]
    if loose:
        cure = "move them into class folders"
        raise DataError("each image must lie in a class folder", value=_listed(loose), cure=cure, place=place)


def _listed(names: list[str]) -> str:
    return ", ".join(map(shown_name, names[:20])) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def scan(root: Path, *, place: str, left_out: LeftOut | None = None) -> tuple[ImageFiles, list[str]]:
    """Return the image files below ``root``, sorted by relative path, and the folders with no image below them.

    Links are followed, but a folder that contains itself through a link is refused. What is no sample is counted in
    ``left_out``.

    Raises:
        DataError: a folder can't be listed, or contains itself.
    """
    endings, left_out = readable_endings(), left_out or LeftOut()
    files = ImageFiles()
    empty: list[str] = []

    def visit(folder: str, relative: str, found: Listing, above: frozenset[tuple[int, int]]) -> bool:
        itself = os.stat(folder)
        here = (itself.st_dev, itself.st_ino)
        if here in above:
            raise DataError("a folder must not contain itself through a link", value=relative, place=place)
        start = f"{relative}/" if relative else ""
        taken = [
            row
            for row, name in enumerate(found.names)
            if name[name.rfind(".") :].lower() in endings and not found.folders[row] and not is_systems_own(name)
        ]
        files.paths += [start + found.names[row] for row in taken]
        files.sizes += [found.sizes[row] for row in taken]
        files.modified += [found.modified[row] for row in taken]
        inner = []
        for row in sorted(set(range(len(found.names))).difference(taken)):
            name = found.names[row]
            if found.folders[row] and not is_systems_own(name):
                inner.append(name)
            else:
                left_out.add(start + name)
        filled, paths = bool(taken), [os.path.join(folder, name) for name in inner]
        for name, path, listing in zip(inner, paths, listings(paths)):
            filled |= visit(path, start + name, listing, above | {here})
        if not filled and relative:
            empty.append(relative)
        return filled

    try:
        visit(str(root), "", listings([str(root)])[0], frozenset())
    except OSError as error:
        got = f"{error.strerror}: {error.filename}"
        raise DataError("the folder must be readable", value=got, place=place) from None
    return files.sorted(), sorted(empty)
