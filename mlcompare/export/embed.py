"""Embed a folder of images or a table of features with an exported model."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from mlcompare.data.images import read_image
from mlcompare.errors import DataError, InvalidValueError, MLCompareError, StoreError
from mlcompare.export.model_folder import CARD, FORMAT, WEIGHTS
from mlcompare.export.standardized import Standardized, described_encoder, embed_samples
from mlcompare.files import write_atomically

__all__ = ["embed_file", "load_model"]

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".pgm", ".ppm", ".bmp", ".gif", ".tif", ".tiff", ".webp"})
TABLES = (".npz", ".parquet")


def load_model(folder: str | Path) -> tuple[Standardized, dict[str, Any]]:
    """Return an exported model, ready to embed, and its card. Weights are read as tensors only: no code is run.

    Raises:
        StoreError: the folder is no exported model, or its weights don't fit its card.
    """
    folder = Path(folder)
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        cure = "make one with `mlcompare export STORE LOSS --out MODEL`"
        raise StoreError(f"a model holds a readable {CARD}", value="none", cure=cure, place=str(folder)) from None
    try:
        if card["format"] != FORMAT:
            value = f"format {card['format']}, known {FORMAT}"
            raise StoreError("the card's format must be known", value=value, cure="export it again", place=str(folder))
        given, shape = card["input"], tuple(card["input"]["shape"])
        net = described_encoder(card["encoder"], shape)
        net.load_state_dict(torch.load(folder / WEIGHTS, weights_only=True, map_location="cpu"))
        width = (1, -1) if len(shape) == 1 else (1, -1, 1, 1)
        mean, deviation = (torch.tensor(given[name], dtype=torch.float32).reshape(width) for name in ("mean", "std"))
    except MLCompareError:
        raise
    except Exception as error:  # torch, pickle, zipfile and a broken card each have errors of their own
        value = f"{type(error).__name__}: {error}".splitlines()[0]
        raise StoreError(
            "the weights must fit the card", value=value, cure="export it again", place=str(folder)
        ) from None
    return Standardized(net, mean, 1 / deviation).eval(), card


def embed_file(model: str | Path, path: str | Path, out: str | Path) -> int:
    """Embed ``path`` (a folder of images, one image, ``.npz`` or ``.parquet``) and write ``out``; return how many.

    The output (``.npz`` or ``.parquet``) holds ``embeddings``, ``names`` (relative paths, or row numbers) and, where
    the input has them, ``labels`` (in ``.parquet`` the column ``label``): a dataset that ``features`` reads. It is
    written whole or not at all.

    Raises:
        InvalidValueError: ``out`` is neither ``.npz`` nor ``.parquet``.
        DataError: the input is missing, broken, or has another shape than the model takes.
        StoreError: the model is broken, or ``out`` can't be written.
    """
    path, out = Path(path), Path(out)
    if out.suffix not in TABLES:
        raise InvalidValueError("`--out` must end in .npz or .parquet", value=str(out))
    net, card = load_model(model)
    shape = tuple(card["input"]["shape"])
    resample = Image.Resampling[card["input"].get("resample", "bilinear").upper()]
    samples, columns = _read_images(path, shape, resample) if len(shape) == 3 else _read_features(path, shape[0])
    embeddings = embed_samples(net, samples)
    try:
        write_atomically(out, _WRITERS[out.suffix](embeddings, columns))
    except OSError as error:
        cure = "name a file in a directory that exists"
        raise StoreError("the file must be writable", value=error.strerror, cure=cure, place=str(out)) from None
    return len(embeddings)


def _as_npz(embeddings: np.ndarray, columns: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {"embeddings": embeddings, **columns}  # Any: numpy's own keyword is no array
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _as_parquet(embeddings: np.ndarray, columns: dict[str, np.ndarray]) -> bytes:
    columns = {"label" if name == "labels" else name: column for name, column in columns.items()}  # as `features` reads
    frame = pd.DataFrame({**columns, **{f"e{i}": column for i, column in enumerate(embeddings.T)}})
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


_WRITERS: dict[str, Callable] = {".npz": _as_npz, ".parquet": _as_parquet}


def _read_images(path: Path, shape: tuple, resample: Image.Resampling) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Read images ``(N, C, H, W)``, in the order of their paths; one class for each folder that holds them."""
    if path.suffix == ".npz":
        samples, columns = _npz(path)
        if samples.dtype != np.uint8 or samples.shape[1:] != shape:
            got = f"{samples.dtype} {samples.shape}"
            raise DataError(f"images must be uint8 (N, {', '.join(map(str, shape))})", value=got, place=str(path))
        return samples, columns
    if not path.exists():
        raise DataError("the input must exist", value="nothing there", cure="check the path", place=str(path))
    root = path if path.is_dir() else path.parent
    found = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGES) if path.is_dir() else [path]
    if not found:
        known = ", ".join(sorted(IMAGES))
        raise DataError("the folder must hold images", value="none", cure=f"known: {known}", place=str(path))
    samples = np.stack([read_image(path, shape[1:], channels=shape[0], resample=resample) for path in found])
    columns = {"names": np.array([path.relative_to(root).as_posix() for path in found])}
    if all(path.parent != root for path in found):
        columns["labels"] = np.array([path.parent.relative_to(root).as_posix() for path in found])
    return samples, columns


def _read_features(path: Path, width: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Read features ``(N, F)`` float32 from an array or from a table's numeric columns."""
    if path.suffix == ".npz":
        samples, columns = _npz(path)
    elif path.suffix == ".parquet":
        samples, columns = _parquet(path, width)
    else:
        cure = "this model takes features, not images"
        raise DataError("features come as .npz or .parquet", value=str(path.name), cure=cure, place=str(path))
    if samples.ndim != 2 or samples.shape[1] != width or samples.dtype.kind not in "fiu":
        got = f"{samples.dtype} {samples.shape}"
        raise DataError(f"features must be numbers (N, {width})", value=got, place=str(path))
    samples = samples.astype(np.float32)
    if not np.isfinite(samples).all():
        bad = int((~np.isfinite(samples)).any(axis=1).argmax())
        raise DataError("features must be finite", value=f"NaN or inf in row {bad}", place=str(path))
    return samples, columns


def _npz(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The array named features, samples, images or embeddings, or the only one; labels and names beside it."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file.items())
    except FileNotFoundError:
        raise DataError("the input must exist", value="nothing there", cure="check the path", place=str(path)) from None
    except Exception as error:  # zipfile and numpy each have errors of their own
        raise DataError("the file must be a readable .npz", value=type(error).__name__, place=str(path)) from None
    known = [name for name in ("features", "samples", "images", "embeddings") if name in arrays]
    others = [name for name in arrays if name not in ("labels", "names", "split")]
    chosen = known[0] if known else others[0] if len(others) == 1 else None
    if chosen is None:
        value = ", ".join(arrays) or "no array"
        raise DataError("one array must be named `features`", value=value, place=str(path))
    samples = arrays[chosen]
    columns = {"names": np.arange(len(samples)).astype(str)}
    columns |= {name: arrays[name] for name in ("labels", "names") if len(arrays.get(name, ())) == len(samples)}
    return samples, columns


def _parquet(path: Path, width: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    if not path.is_file():
        raise DataError("the input must exist", value="nothing there", cure="check the path", place=str(path))
    try:
        frame = pd.read_parquet(path)
    except Exception as error:  # pyarrow has no common base class for broken files
        raise DataError("the file must be readable parquet", value=type(error).__name__, place=str(path)) from None
    columns = {"names": np.arange(len(frame)).astype(str)}
    for name in ("label", "labels", "class", "name", "names"):
        if name in frame.columns:
            columns["names" if name.startswith("name") else "labels"] = frame.pop(name).to_numpy().astype(str)
    numeric = frame.select_dtypes("number")
    if numeric.shape[1] != width:
        value = f"{numeric.shape[1]} numeric columns"
        raise DataError(f"the table must have {width} numeric columns", value=value, place=str(path))
    return numeric.to_numpy(dtype=np.float64), columns
