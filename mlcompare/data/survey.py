"""Look at data that nobody has described: which reader takes them, and what they hold. No image is kept in memory."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mlcompare.data.dataset import Dataset, load_dataset
from mlcompare.data.duplicates import find_duplicates
from mlcompare.data.folder import check_layout, classes_of, scan
from mlcompare.data.hints import nothing_there
from mlcompare.data.idx import PARTS, found_parts
from mlcompare.data.image_files import ImageFiles
from mlcompare.data.image_list import NEEDED, read_list
from mlcompare.data.images import readable_endings
from mlcompare.data.labels import encode_labels
from mlcompare.data.skipped import SPLIT_FOLDERS, LeftOut, is_systems_own
from mlcompare.data.survey_images import ImageSample, file_copies, sample_images
from mlcompare.data.survey_tables import column_names, hardly_features
from mlcompare.errors import DataError

__all__ = ["Survey", "survey"]

TABLES = (".csv", ".parquet", ".npz")
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")
SHOWN = 3


@dataclass(frozen=True)
class Survey:
    """What was seen of some data.

    Attributes:
        reader, path, options: the registered dataset that reads them, where they are, and the reader's other options.
        labels: ``(N,)`` int64, the class of each sample.
        class_names: the name of each class.
        split: ``(N,)`` text, the official split, or None.
        images: what a sample of the files told, where they are files of images.
        dataset: the data themselves, where they are arrays.
        notes: sentences about what is odd.
        reasons: why each of the options is as it is.
    """

    reader: str
    path: Path
    labels: np.ndarray
    class_names: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)
    split: np.ndarray | None = None
    images: ImageSample | None = None
    dataset: Dataset | None = None
    notes: tuple[str, ...] = ()
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def sizes(self) -> np.ndarray:
        """How many samples each class has ``(C,)``."""
        return np.bincount(self.labels, minlength=len(self.class_names))

    @property
    def is_images(self) -> bool:
        return self.images is not None or (self.dataset is not None and self.dataset.is_images)


def survey(path: str | Path) -> Survey:
    """Look at a folder of images or of IDX files, a list of images (.csv, .parquet), or features (.npz, .parquet).

    Raises:
        DataError: nothing is there, it is no data that any reader takes, or the reader refuses it.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise DataError("there must be a folder or a file", place=str(path), **nothing_there(path, "check the path"))
    if path.is_dir():
        return _folder(_unwrapped(path))
    if path.name.split("-")[0].split(".")[0] in PARTS and "idx" in path.name:
        return _arrays("idx", path.parent)
    suffix = path.suffix.lower()
    if suffix in TABLES:
        return _table(path, suffix)
    cures = {
        "an archive": (suffix in ARCHIVES, "unpack it, and give the folder"),
        "one image": (suffix in readable_endings(), "give the folder above its class folder"),
    }
    what, cure = next(((what, cure) for what, (yes, cure) in cures.items() if yes), (f"{path.name}", None))
    takes = "give a folder of images, a list of them (.csv, .parquet), features (.npz, .parquet) or IDX files"
    raise DataError("it must be data that a study can read", value=what, cure=cure or takes, place=str(path))


def _unwrapped(folder: Path) -> Path:
    """Go down where a folder holds one folder and nothing else, as unpacked archives do."""
    while True:
        entries = [entry for entry in os.scandir(folder) if not is_systems_own(entry.name)]
        inner = [entry for entry in entries if entry.is_dir()]
        if len(entries) != 1 or len(inner) != 1 or not _holds_folders(Path(inner[0].path)):
            return folder
        folder = folder / inner[0].name


def _holds_folders(folder: Path) -> bool:
    return any(entry.is_dir() and not is_systems_own(entry.name) for entry in os.scandir(folder))


def _folder(folder: Path) -> Survey:
    place = str(folder)
    if found_parts(folder):
        return _arrays("idx", folder)
    left_out = LeftOut()
    files, empty = scan(folder, place=place, left_out=left_out)
    _point_to_tables(folder, loose=not any("/" in name for name in files.paths))
    if not files:
        value = left_out.sentence() or "an empty folder"
        cure = "put the images of each class in a folder of its own, or give the file of a table"
        raise DataError("the folder must hold class folders with images", value=value, cure=cure, place=place)
    check_layout(files, empty, allow_empty=True, place=place)
    _refuse_half_a_split(files.paths, place)
    _refuse_unlabelled_test(files.paths, place)
    classes, split = classes_of(files.paths, "folder", place=place)
    options, reasons = (
        ({"allow_empty": True}, {"allow_empty": _counted(len(empty), "folder holds", "folders hold") + " no image"})
        if empty
        else ({}, {})
    )
    said = left_out.sentence()
    return _image_files(
        "image_folder", folder, folder, files, classes, split, (said,) if said else (), options, reasons
    )


def _point_to_tables(folder: Path, *, loose: bool) -> None:
    """Where images lie in no class folder and a table lies beside them, the table is the data."""
    tables = sorted(entry.name for entry in os.scandir(folder) if entry.name.lower().endswith(TABLES))
    if loose and tables:
        cure = f"give the table: {folder / tables[0]}"
        raise DataError("images must lie in class folders", value=f"{', '.join(tables[:SHOWN])}", cure=cure,
                        place=str(folder))  # fmt: skip


def _refuse_half_a_split(paths: list[str], place: str) -> None:
    """Without a test part, train/cat and val/cat would be two classes."""
    tops = {path.partition("/")[0] for path in paths}
    parts = {SPLIT_FOLDERS.get(top.lower()) for top in tops}
    if None in parts or parts >= {"train", "test"}:
        return
    inner = [
        {path.split("/")[1] for path in paths if path.startswith(f"{top}/") and path.count("/") > 1} for top in tops
    ]
    if len(tops) == 1 or not set.intersection(*inner):
        return
    train = next((top for top in tops if SPLIT_FOLDERS[top.lower()] == "train"), min(tops))
    got, cure = f"{' and '.join(sorted(tops))} alone", f"rename one of them to test, or give {place}/{train}"
    raise DataError("an official split has folders train and test", value=got, cure=cure, place=place)


def _refuse_unlabelled_test(paths: list[str], place: str) -> None:
    """Competitions hand out test images without their classes."""
    inside: dict[str, set[bool]] = {}
    for path in paths:
        top, _, rest = path.partition("/")
        inside.setdefault(top, set()).add("/" in rest)
    test = [top for top, deep in inside.items() if SPLIT_FOLDERS.get(top.lower()) == "test" and deep == {False}]
    train = [top for top, deep in inside.items() if SPLIT_FOLDERS.get(top.lower()) == "train" and deep == {True}]
    if test and train:
        got, cure = f"none of {test[0]}", f"give {place}/{train[0]}: a part of it is sealed instead"
        raise DataError(
            "test images must lie in class folders, as those of training", value=got, cure=cure, place=place
        )


def _table(path: Path, suffix: str) -> Survey:
    names = column_names(path)
    if suffix == ".csv" or set(NEEDED) <= set(names):
        if suffix == ".csv" and "label" in names and "path" not in names:
            cure = "save it as .parquet: pandas.read_csv(…).to_parquet(…)"
            raise DataError("a .csv must list images: `path` and `label`", value=", ".join(names)[:200], cure=cure,
                            place=str(path))  # fmt: skip
        listed = read_list(path, place=str(path))
        root = path.resolve().parent
        return _image_files("image_list", path, root, listed.files, listed.labels, listed.split, listed.notes, {}, {})
    if suffix == ".npz" and not zipfile.is_zipfile(path):
        raise DataError("the file must be a whole .npz", value="other bytes", cure="write it again", place=str(path))
    ignored = hardly_features(path) if suffix == ".parquet" else {}
    reasons = (
        {"ignore": "no features: " + "; ".join(f"`{name}` {reason}" for name, reason in ignored.items())}
        if ignored
        else {}
    )
    return _arrays("features", path, {"ignore": list(ignored)} if ignored else {}, reasons)


def _arrays(
    reader: str, path: Path, options: dict[str, Any] | None = None, reasons: dict[str, str] | None = None
) -> Survey:
    """Read what is one array in memory anyway."""
    dataset = load_dataset(reader, path=str(path), **(options or {}))
    copies = find_duplicates(dataset, np.array([], dtype=np.int64)).sentences(dataset)
    return Survey(
        reader, path, dataset.labels, dataset.class_names, options or {}, dataset.split, dataset=dataset,
        notes=(*dataset.notes, *copies), reasons=reasons or {},
    )  # fmt: skip


def _image_files(
    reader: str, path: Path, root: Path, files: ImageFiles, classes: list, split: np.ndarray | None,
    notes: tuple[str, ...], options: dict[str, Any], reasons: dict[str, str],
) -> Survey:  # fmt: skip
    labels, names = encode_labels(classes, place=str(path))
    sample = sample_images(root, files)
    if not len(sample.sizes):
        named = "; ".join(f"{name} ({reason})" for name, reason in sample.broken[:SHOWN])
        raise DataError("images must be readable", value=f"none of {sample.opened}: {named}", cure="check the files",
                        place=str(path))  # fmt: skip
    if sample.broken or sample.empty or not sample.everything:
        options, reasons = (
            {**options, "skip_corrupt": True},
            {**reasons, "skip_corrupt": _told_of_broken(sample, len(files))},
        )
    copies, all_seen = file_copies(root, files)
    several = [rows for rows in copies if len({int(labels[row]) for row in rows}) > 1]
    told = [
        *notes,
        *([_told_of_copies(copies, several, files.paths, all_seen)] if copies else []),
    ]
    return Survey(reader, path, labels, names, options, split, images=sample, notes=tuple(told), reasons=reasons)


def _counted(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"


def _told_of_broken(sample: ImageSample, count: int) -> str:
    named = "; ".join(f"{name} ({reason})" for name, reason in sample.broken[:SHOWN])
    seen = f"{len(sample.broken)} of the {sample.opened} files that were opened can't be read: {named}"
    if not sample.broken:
        seen = f"only {sample.opened} of {count} files were opened, all can be read"
    return seen + ("; " + _counted(sample.empty, "file is", "files are") + " empty" if sample.empty else "")


def _told_of_copies(copies: list[list[int]], several: list[list[int]], paths: list[str], all_seen: bool) -> str:
    shown = (several or copies)[0]
    text = _counted(sum(len(rows) - 1 for rows in copies), "file is a copy of another", "files are copies of others")
    text += f", in {_counted(len(several), 'case', 'cases')} of another class" if several else ""
    named = " = ".join(paths[row] for row in shown[:SHOWN])
    return f"{text}: {named}" + ("" if all_seen else " (not all files were looked at)")
