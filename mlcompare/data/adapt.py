"""Datasets of one's own: any map-style ``torch.utils.data.Dataset`` of (image or vector, label)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from mlcompare.data.dataset import Dataset
from mlcompare.data.levels import groups_of_classes
from mlcompare.errors import DataError

__all__ = ["as_dataset"]


def as_dataset(
    items: Any, *, name: str = "own", class_names: Sequence[str] | None = None, split: Sequence[str] | None = None,
    levels: Mapping[str, Sequence[str]] | None = None,
) -> Dataset:  # fmt: skip
    """Read a map-style dataset once, in memory: ``items[i] → (sample, label)`` for i below ``len(items)``.

    A sample is an image (PIL, or uint8 or a float in [0, 1], ``(H, W)``, ``(H, W, C)`` or ``(C, H, W)``, torch or
    numpy) or a vector ``(F,)``; all have one size. A label is a whole number or text; classes are sorted.

    Args:
        name: what tables and stores call it.
        class_names: the name of each label, where labels are 0 … C - 1.
        split: ``train`` or ``test`` of each sample, where there is an official split.
        levels: coarser levels of a hierarchy, from the finest: the name of each → the group of each sample.

    Raises:
        DataError: a sample or a label is none of these, or sizes differ; the message names the first one.

    >>> as_dataset([(np.zeros(3), "cat"), (np.ones(3), "dog")]).class_names
    ('cat', 'dog')
    """
    if len(items) == 0:
        raise DataError("a dataset holds at least one sample", value="none", place=name)
    samples, labels = [], []
    for row in range(len(items)):
        item = items[row]
        if not isinstance(item, tuple | list) or len(item) != 2:
            rule = "an item must be (sample, label)"
            raise DataError(rule, value=type(item).__name__, place=f"{name}[{row}]")
        samples.append(_sample(item[0], f"{name}[{row}]"))
        labels.append(_label(item[1], f"{name}[{row}]"))
        first, last = samples[0], samples[-1]
        if last.shape != first.shape or last.dtype != first.dtype:
            value = f"{last.dtype} {last.shape} beside {first.dtype} {first.shape}"
            raise DataError("all samples must have one size and type", value=value, place=f"{name}[{row}]")
    classes, targets = np.unique(np.asarray(labels), return_inverse=True)
    names = tuple(map(str, classes))
    if class_names is not None:
        if not np.issubdtype(classes.dtype, np.integer) or classes.min() < 0 or classes.max() >= len(class_names):
            value = f"labels {classes.min()} … {classes.max()} for {len(class_names)} names"
            raise DataError("`class_names` needs labels from 0 to C - 1", value=value, place=name)
        names = tuple(str(class_names[int(c)]) for c in classes)
    official = None if split is None else np.asarray(list(split))
    targets = targets.reshape(-1).astype(np.int64)
    groups = groups_of_classes(levels or {}, targets, names, place=name)
    return Dataset(name, np.stack(samples), targets, names, official, levels=groups)


def _sample(value: Any, place: str) -> np.ndarray:
    array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    if array.ndim == 1 and array.dtype.kind in "fiub":
        return array.astype(np.float32)
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or array.dtype.kind not in "fiub":
        value = f"{array.dtype} {array.shape}"
        raise DataError("a sample must be an image or a vector of numbers", value=value, place=place)
    if array.shape[0] not in (1, 3) and array.shape[2] in (1, 3):
        array = array.transpose(2, 0, 1)
    if array.dtype.kind == "f":
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            cure = "leave normalisation out of the transform: encoders are fed standardised pixels anyway"
            value = f"{array.min():g} … {array.max():g}"
            raise DataError("pixels as floats must lie in [0, 1]", value=value, cure=cure, place=place)
        array = np.round(array * 255)
    elif array.min() < 0 or array.max() > 255:
        raise DataError("pixels must lie in 0 … 255", value=f"{array.min()} … {array.max()}", place=place)
    return np.ascontiguousarray(array.astype(np.uint8))


def _label(value: Any, place: str) -> int | str:
    if isinstance(value, torch.Tensor | np.ndarray | np.generic) and np.ndim(value) == 0:
        value = value.item()
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise DataError("a label must be a whole number or text", value=repr(value)[:60], place=place)
