"""Labels as people write them (numbers or names) → int64 counted from 0, and the name of each."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlcompare.errors import DataError, did_you_mean

__all__ = ["checked_split", "encode_labels"]

SPLITS = ("train", "validation", "test")


def encode_labels(values: np.ndarray | Sequence[Any], *, place: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return ``(N,)`` int64 labels and the class names. Whole numbers are ordered as numbers, other names as text.

    Args:
        values: ``(N,)`` whole numbers or text.
        place: where the labels come from, for the message.

    Raises:
        DataError: labels are missing, empty, not one for each row, neither whole numbers nor text, or look alike.

    >>> encode_labels(["10", "9", "10"], place="labels")
    (array([1, 0, 1]), ('9', '10'))
    """
    array = np.asarray(values)
    if array.ndim != 1:
        raise DataError("labels must be one for each sample", value=f"shape {array.shape}", place=place)
    if array.dtype.kind == "O":
        array = _from_objects(array, place)
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    if array.dtype.kind == "U":
        empty = np.flatnonzero(np.char.strip(array) == "")
        if len(empty):
            raise DataError("every sample must have a label", value=f"none in row {empty[0]}", place=place)
        array = _as_numbers(array)
    if array.dtype.kind == "f":
        array = _whole(array, place)
    if array.dtype.kind not in "iubU":
        cure = "store them as integers or as text"
        raise DataError("labels must be whole numbers or text", value=str(array.dtype), cure=cure, place=place)
    names, labels = np.unique(array, return_inverse=True)
    if array.dtype.kind == "U":
        _refuse_look_alikes(names, place)
    return labels.reshape(-1).astype(np.int64), tuple(str(name) for name in names)


def _refuse_look_alikes(names: np.ndarray, place: str) -> None:
    """Two spellings of one name would be two classes, one of them sealed perhaps and the other trained on."""
    seen: dict[str, str] = {}
    for name in names.tolist():
        plain = " ".join(unicodedata.normalize("NFC", name).split())
        if plain in seen:
            rule = "labels that look alike are one class under two names (blanks, or Unicode forms)"
            cure = "write them in one way"
            raise DataError(rule, value=f"{seen[plain]!a} and {name!a}", cure=cure, place=place)
        seen[plain] = name


def _from_objects(array: np.ndarray, place: str) -> np.ndarray:
    """Give a column of Python objects the type that all of them share."""
    kinds = {type(value) for value in array}
    if kinds <= {str}:
        return array.astype(str)
    if kinds <= {int} or kinds <= {bool}:
        return np.array(array.tolist())
    if kinds <= {float}:
        return array.astype(np.float64)
    odd = next((row for row, value in enumerate(array) if type(value) is not type(array[0]) or value is None), 0)
    raise DataError("every label must be a whole number or text", value=f"{array[odd]!r} in row {odd}", place=place)


def _whole(array: np.ndarray, place: str) -> np.ndarray:
    """Tables with gaps store whole numbers as floats: take them as what they are."""
    odd = np.flatnonzero(~np.isfinite(array) | (array != np.trunc(array)) | (np.abs(array) > 2**53))
    if len(odd):
        got, cure = f"{array[odd[0]]} in row {odd[0]}", "store labels as integers or as text"
        raise DataError("labels must be whole numbers or text", value=got, cure=cure, place=place)
    return array.astype(np.int64)


def _as_numbers(array: np.ndarray) -> np.ndarray:
    """Turn text into int64 where every label is the usual spelling of a whole number."""
    try:
        numbers = array.astype(np.int64)
    except (ValueError, OverflowError):
        return array
    return numbers if bool((numbers.astype(str) == array).all()) else array


def checked_split(values: np.ndarray | Sequence[Any], count: int, *, place: str) -> np.ndarray:
    """Return an official split as ``(N,)`` text.

    Raises:
        DataError: there is not one for each row, or one is not train, validation or test.
    """
    array = np.asarray(values)
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    array = array.astype(str)
    if array.shape != (count,):
        raise DataError("`split` must be one for each sample", value=f"{array.shape} for {count} samples", place=place)
    for row in np.flatnonzero(~np.isin(array, SPLITS))[:1]:
        raise DataError(
            f"`split` must be {', '.join(SPLITS)}", value=f"{array[row]!r} in row {row}",
            cure=did_you_mean(array[row], SPLITS), place=place,
        )  # fmt: skip
    return array
