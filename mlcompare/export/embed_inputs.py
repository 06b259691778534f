"""What a model embeds: folders of images as training scans and reads them, tables with their columns in its order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mlcompare.data.arrow_columns import column_labels, read_parquet
from mlcompare.data.counted import shown_name
from mlcompare.data.features import joined_columns
from mlcompare.data.folder import classes_of, scan
from mlcompare.data.hints import nothing_there
from mlcompare.data.image_reader import ImageReader
from mlcompare.data.labels import encode_labels
from mlcompare.data.skipped import LeftOut
from mlcompare.errors import DataError, did_you_mean

__all__ = ["Inputs", "read_features", "read_images"]

Inputs = tuple[np.ndarray, dict[str, np.ndarray], list[str]]  # samples, columns beside the embeddings, notes
LABELS, NAMES = ("label", "labels", "class"), ("names", "name")
SHOWN = 3


def read_images(path: Path, given: Mapping[str, Any]) -> Inputs:
    """Read images ``(N, C, H, W)`` uint8 in the order of their paths: a folder, one image, or an ``.npz``.

    A folder is scanned as `image_folder` scans it: the same endings, the same files of systems left out, the same
    classes; images are read as the study read them.

    Args:
        given: the section ``input`` of the model's card.

    Raises:
        DataError: it is missing or empty, or an image can't be decoded.
    """
    shape, place = tuple(given["shape"]), str(path)
    if path.suffix.lower() == ".npz":
        samples, columns = _npz(path, ("images", "samples", "features", "embeddings"))
        if samples.dtype != np.uint8 or samples.shape[1:] != shape:
            got = f"{samples.dtype} {samples.shape}"
            raise DataError(f"images must be uint8 (N, {', '.join(map(str, shape))})", value=got, place=place)
        return samples, columns, []
    if not path.exists():
        raise DataError("the input must exist", place=place, **nothing_there(path, "check the path"))
    if path.suffix.lower() in (".parquet", ".csv"):
        cure = "this model takes images, not features"
        raise DataError("images come as a folder, one image, or an .npz", value=path.name, cure=cure, place=place)
    reading, left_out = given.get("reading", {}), LeftOut()
    root, names = path.parent, [path.name]
    if path.is_dir():
        root, names = path, scan(path, place=place, left_out=left_out)[0].paths
    if not names:
        raise DataError("the folder must hold images", value=left_out.sentence() or "none", place=place)
    reader = ImageReader(
        root, shape[1:], shape[0], bits=given.get("bits") or 16,
        max_pixels=reading.get("max_pixels"), resample=Image.Resampling[given.get("resample", "bilinear").upper()],
    )  # fmt: skip
    read = [(name, pixels) for name in names if (pixels := reader.read(name)) is not None]
    reader.check(skip_corrupt=bool(reading.get("skip_corrupt")), place=place, options=False)
    kept = [name for name, _ in read]
    columns = {"names": np.array([shown_name(name) for name in kept])}
    if all("/" in name for name in kept):
        columns |= _classes(kept, reading.get("class_of", "folder"), place)
    notes = [sentence for sentence in (left_out.sentence(), *reader.notes()) if sentence]
    return np.stack([pixels for _, pixels in read]), columns, notes


def _classes(paths: Sequence[str], class_of: str, place: str) -> dict[str, np.ndarray]:
    try:
        classes, split = classes_of(paths, class_of, place=place)
    except DataError:  # to be trained on they would have to be in order; each image has a folder all the same
        classes, split = [shown_name(path.rpartition("/")[0]) for path in paths], None
    return {"labels": np.array(classes), **({} if split is None else {"split": split})}


def read_features(path: Path, given: Mapping[str, Any]) -> Inputs:
    """Read features ``(N, F)`` float32 from an array, or from the columns of a table that the model's card names.

    Args:
        given: the section ``input`` of the model's card.

    Raises:
        DataError: it is missing or broken, or its columns are not the model's.
    """
    width, names, place = given["shape"][0], given.get("columns"), str(path)
    notes: list[str] = []
    if path.suffix.lower() == ".npz":
        samples, columns = _npz(path, ("features", "samples", "images", "embeddings"))
        if names is not None:
            notes.append(f"an array has no names: its columns must stand as in training ({_listed(names)})")
    elif path.suffix.lower() == ".parquet":
        samples, columns, notes = _parquet(path, names, width)
    else:
        cure = "this model takes features, not images"
        raise DataError("features come as .npz or .parquet", value=str(path.name), cure=cure, place=place)
    if samples.ndim != 2 or samples.shape[1] != width or samples.dtype.kind not in "fiub":
        raise DataError(f"features must be numbers (N, {width})", value=f"{samples.dtype} {samples.shape}", place=place)
    samples = samples.astype(np.float32)
    if not np.isfinite(samples).all():
        bad = int((~np.isfinite(samples)).any(axis=1).argmax())
        raise DataError("features must be finite", value=f"NaN or inf in row {bad}", place=place)
    return samples, columns, notes


def _npz(path: Path, known: Sequence[str]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The array of the first of the names ``known`` that there is, or the only one; labels and names beside it."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file.items())
    except FileNotFoundError:
        told = nothing_there(path, "check the path")
        raise DataError("the input must exist", place=str(path), **told) from None
    except Exception as error:  # zipfile and numpy each have errors of their own
        raise DataError("the file must be a readable .npz", value=type(error).__name__, place=str(path)) from None
    found = [name for name in known if name in arrays]
    others = [name for name in arrays if name not in ("labels", "names", "split")]
    chosen = found[0] if found else others[0] if len(others) == 1 else None
    if chosen is None:
        value = ", ".join(arrays) or "no array"
        raise DataError(f"one array must be named `{known[0]}`", value=value, place=str(path))
    samples = arrays[chosen]
    columns = {"names": np.arange(len(samples)).astype(str)}
    columns |= {n: arrays[n] for n in ("labels", "names", "split") if len(arrays.get(n, ())) == len(samples)}
    return samples, columns


def _parquet(path: Path, names: Sequence[str] | None, width: int) -> Inputs:
    place = str(path)
    if not path.is_file():
        raise DataError("the input must exist", place=place, **nothing_there(path, "check the path"))
    table = read_parquet(path, place=place)
    known, notes = list(table.column_names), list[str]()
    wanted = _unnamed(table) if names is None else _named(known, names, place)
    columns = {"names": np.arange(table.num_rows).astype(str)}
    for key, possible in (("labels", LABELS), ("names", NAMES), ("split", ("split",))):
        for name in [name for name in possible if name in known and name not in wanted][:1]:
            columns[key] = _as_text(column_labels(table[name], place=place, name=name), place)
    matrix, found = joined_columns(table, wanted, place=place, cure="store it as in training")
    if names is None:
        if matrix.shape[1] != width:
            value = f"{matrix.shape[1]} numeric columns"
            raise DataError(f"the table must have {width} numeric columns", value=value, place=place)
        return (
            matrix,
            columns,
            ["the model knows no names of columns: those of the table are taken in their order"],
        )
    if set(found) != set(names):
        odd = sorted(set(found) ^ set(names))
        cure = "give lists as long as in training"
        raise DataError("the table must have the model's columns", value=_listed(odd), cure=cure, place=place)
    left = [name for name in known if name not in (*wanted, *LABELS, *NAMES, "split")]
    if left:
        notes.append(f"columns that the model does not know are left alone: {_listed(left)}")
    if wanted != [name for name in known if name in wanted]:
        notes.append("the table's columns stand in another order than in training: they were put into the model's")
    place_of = {name: number for number, name in enumerate(found)}
    return matrix[:, [place_of[name] for name in names]], columns, notes


def _named(known: Sequence[str], names: Sequence[str], place: str) -> list[str]:
    """Return the columns of a table that hold the features ``names``: each itself, or the list that ``e[0]`` is in."""
    wanted = dict.fromkeys(name if name in known else name.rpartition("[")[0] or name for name in names)
    missing = [name for name in wanted if name not in known]
    if missing:
        got = f"no {_listed(missing)} ({len(missing)} of {len(wanted)} missing)"
        cure = did_you_mean(missing[0], [name for name in known if name not in wanted])
        raise DataError("the table must have the columns of the model's card", value=got, cure=cure, place=place)
    return list(wanted)


def _unnamed(table: Any) -> list[str]:
    """Return the columns that can be features, in the table's order."""
    import pyarrow

    types = pyarrow.types
    return [
        field.name
        for field in table.schema
        if field.name not in (*LABELS, *NAMES, "split")
        and (types.is_floating(field.type) or types.is_integer(field.type) or types.is_nested(field.type))
    ]


def _as_text(values: np.ndarray, place: str) -> np.ndarray:
    """Labels as the names that training gives them; what training would refuse, as it is."""
    try:
        labels, names = encode_labels(values, place=place)
    except DataError:
        return values.astype(str)
    return np.array(names)[labels]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names[:SHOWN]) + ", …" * (len(names) > SHOWN)
