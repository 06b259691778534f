"""Embed a folder of images or a table of features with an exported model."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from mlcompare.data.hints import hint
from mlcompare.errors import InvalidValueError, MLCompareError, StoreError
from mlcompare.export.embed_inputs import read_features, read_images
from mlcompare.export.model_folder import CARD, FORMAT, WEIGHTS
from mlcompare.export.standardized import Standardized, described_encoder, embed_samples
from mlcompare.files import check_folder, write_atomically

__all__ = ["embed_file", "load_model", "read_samples", "unit"]

TABLES = (".npz", ".parquet")


def load_model(folder: str | Path) -> tuple[Standardized, dict[str, Any]]:
    """Return an exported model, ready to embed, and its card. Weights are read as tensors only: no code is run.

    Raises:
        StoreError: the folder is no exported model, or its weights don't fit its card.
    """
    folder = Path(folder).expanduser()
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        cure = hint(folder) or "make one with `mlcompare export STORE LOSS --out MODEL`"
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


def read_samples(
    card: Mapping[str, Any], path: str | Path, *, note: Callable[[str], object] | None = None
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return samples ``(N, …)`` as the card's model takes them, and the columns beside them (``names``, ``labels``).

    Arguments and errors are those of :func:`embed_file`.
    """
    read = read_images if len(card["input"]["shape"]) == 3 else read_features
    samples, columns, notes = read(Path(path).expanduser(), card["input"])
    for sentence in notes:
        if note is not None:
            note(sentence)
    return samples, columns


def unit(embeddings: np.ndarray) -> np.ndarray:
    """Return embeddings ``(N, D)`` at length 1; one of no length stays.

    >>> unit(np.array([[3.0, 4.0], [0.0, 0.0]])).round(2).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1, keepdims=True)
    return embeddings / np.where(lengths > 0, lengths, 1.0)


def embed_file(
    model: str | Path, path: str | Path, out: str | Path, *, raw: bool = False,
    note: Callable[[str], object] | None = None,
) -> int:  # fmt: skip
    """Embed ``path`` (a folder of images, one image, ``.npz`` or ``.parquet``) and write ``out``; return how many.

    Folders are scanned and images read as in training, the columns of a table are put into the order of the model's
    card. The output (``.npz`` or ``.parquet``) holds ``embeddings``, ``names`` (relative paths, or row numbers) and,
    where the input has them, ``labels`` (in ``.parquet`` the column ``label``) and ``split``: a dataset that
    ``features`` reads. It is written whole or not at all. Embeddings have length 1, so that their dot products are the
    cosines that the card's threshold is one of.

    Args:
        raw: leave embeddings as the encoder makes them.
        note: called with each sentence that a person should know: what was left out, say.

    Raises:
        InvalidValueError: ``out`` is neither ``.npz`` nor ``.parquet``.
        DataError: the input is missing, broken, or has another shape or other columns than the model takes.
        StoreError: the model is broken, or ``out`` can't be written.
    """
    path, out = Path(path).expanduser(), Path(out).expanduser()
    if out.suffix not in TABLES:
        raise InvalidValueError("`--out` must end in .npz or .parquet", value=str(out))
    rule, cure = "the file must be writable", "name a file in a directory that exists and can be written"
    check_folder(out.parent, rule, cure=cure, place=out)
    net, card = load_model(model)
    samples, columns = read_samples(card, path, note=note)
    embeddings = embed_samples(net, samples)
    embeddings = embeddings if raw else unit(embeddings).astype(np.float32)
    try:
        write_atomically(out, _WRITERS[out.suffix](embeddings, columns))
    except OSError as error:
        raise StoreError(rule, value=error.strerror, cure=cure, place=str(out)) from None
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
