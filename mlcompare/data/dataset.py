"""A dataset in memory: one array, one label for each row; and the register of readers."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from mlcompare.data.levels import Levels, check_levels, fingerprint_with
from mlcompare.errors import DataError, InvalidValueError, UnknownNameError, did_you_mean
from mlcompare.registry import Record, Registry, options_of

__all__ = ["DATASETS", "Dataset", "DatasetSpec", "list_datasets", "load_dataset", "register_dataset"]

CHUNK = 4096  # samples that are looked at at a time: they may be mapped, and more than memory holds


@dataclass(frozen=True)
class Dataset:
    """Labelled images or features, decoded once.

    Args:
        name: the registered name.
        samples: ``(N, C, H, W)`` uint8 images or ``(N, F)`` float32 features; may be memory-mapped.
        labels: ``(N,)`` int64 in [0, number of classes).
        class_names: the name of each label.
        split: ``(N,)`` text, an official split (``train``, ``test``), where there is one.
        credit: whom to thank for the data.
        paths: ``(N,)`` relative paths of the images, where they were files.
        notes: what a reader should know of how the data were read: files left out, say.
        columns: the name of each feature ``(F,)``, where they have names.
        bits: the depth that 16-bit grey images were scaled down from, where there were any.
        cached: the folder that holds decoded images for the next time, where they are kept.
        levels: coarser levels of a hierarchy, from the finest: the name of each → the group of each class ``(C,)``,
            ``{"kind": ("dogs", "dogs", "cats")}``.
        feature_scale: what features are divided by before a network: ``column``, each by its own deviation, or
            ``whole``, all by one.

    Raises:
        DataError: shapes or types don't fit, a feature is not finite, or levels are no tree.
    """

    name: str
    samples: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    split: np.ndarray | None = None
    credit: str = ""
    fingerprint: str = field(default="")
    paths: tuple[str, ...] | None = field(default=None, repr=False)
    notes: tuple[str, ...] = field(default=(), repr=False)
    columns: tuple[str, ...] | None = field(default=None, repr=False)
    bits: int | None = field(default=None, repr=False)
    cached: Path | None = field(default=None, repr=False)
    levels: Levels = field(default_factory=dict, repr=False)
    feature_scale: Literal["column", "whole"] = field(default="column", repr=False)

    def __post_init__(self) -> None:
        images = self.samples.ndim == 4 and self.samples.dtype == np.uint8
        features = self.samples.ndim == 2 and self.samples.dtype == np.float32
        if not (images or features):
            got = f"{self.samples.dtype} {self.samples.shape}"
            raise DataError("samples must be uint8 (N, C, H, W) or float32 (N, F)", value=got, place=self.name)
        if self.labels.shape != self.samples.shape[:1] or self.labels.dtype != np.int64:
            got = f"{self.labels.dtype} {self.labels.shape} for {len(self.samples)} samples"
            raise DataError("labels must be int64 (N,)", value=got, place=self.name)
        if len(self.labels) == 0:
            raise DataError("a dataset holds at least one sample", value="none", place=self.name)
        if self.labels.min() < 0 or self.labels.max() >= len(self.class_names):
            got = f"{self.labels.min()} … {self.labels.max()} for {len(self.class_names)} classes"
            raise DataError("labels must count the classes from 0", value=got, place=self.name)
        check_levels(self.levels, self.class_names, place=self.name)
        if self.columns is not None and (not features or len(self.columns) != self.samples.shape[1]):
            got = f"{len(self.columns)} for {self.samples.shape}"
            raise DataError("`columns` must name each feature", value=got, place=self.name)
        found = self._not_finite() if features else None
        if found is not None:
            row, column = found
            named = f" of `{self.columns[column]}`" if self.columns else ""
            raise DataError("features must be finite", value=f"NaN or inf in row {row}{named}", place=self.name)
        if not self.fingerprint:
            object.__setattr__(self, "fingerprint", self._hash())

    def _not_finite(self) -> tuple[int, int] | None:
        """Return row and column of the first feature that is not finite."""
        for start in range(0, len(self.samples), CHUNK):
            bad = np.argwhere(~np.isfinite(self.samples[start : start + CHUNK]))
            if len(bad):
                return start + int(bad[0, 0]), int(bad[0, 1])
        return None

    def _hash(self) -> str:
        digest = hashlib.sha256(repr((self.samples.shape, self.samples.dtype.str)).encode())
        for start in range(0, len(self.samples), CHUNK):
            digest.update(np.ascontiguousarray(self.samples[start : start + CHUNK]).data)
        digest.update(np.ascontiguousarray(self.labels).data)
        return fingerprint_with(self.levels, digest.hexdigest())

    def name_of(self, row: int) -> str:
        """Return what a person knows a sample by: its file, else its row and class."""
        return self.paths[row] if self.paths else f"row {row} ({self.class_names[self.labels[row]]})"

    @property
    def is_images(self) -> bool:
        return self.samples.ndim == 4

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """``(C, H, W)`` or ``(F,)``."""
        return self.samples.shape[1:]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True)
class DatasetSpec(Record):
    """A registered reader: ``options`` are its keyword arguments with their defaults."""


DATASETS = Registry("dataset", "datasets", DatasetSpec, homes=["mlcompare.data"])
Reader = TypeVar("Reader", bound=Callable[..., Dataset])


def register_dataset(name: str, *, reference: str = "", replace: bool = False) -> Callable[[Reader], Reader]:
    """File a reader under ``name``: a function of options that returns a :class:`Dataset`.

    With ``replace`` it takes the place of a reader of that name, as in a notebook cell that is run again.

    Raises:
        InvalidValueError: the name is taken.
    """

    def decorate(read: Reader) -> Reader:
        spec = DatasetSpec(
            name=name, factory=read, options=options_of(read), doc=read.__doc__ or "", reference=reference
        )
        DATASETS.register(spec, replace=replace)
        return read

    return decorate


def list_datasets() -> list[DatasetSpec]:
    """Return the registered readers, sorted by name.

    >>> "orl_faces" in [spec.name for spec in list_datasets()]
    True
    """
    return DATASETS.records()


def load_dataset(name: str, **options: Any) -> Dataset:
    """Read a dataset.

    Raises:
        UnknownNameError: no such dataset or option.
        InvalidValueError: an option that the reader demands is missing.
        DataError: files are missing or broken.
    """
    spec = DATASETS.usable(name)
    for key in options:
        if key not in spec.options:
            raise UnknownNameError(f"unknown option {key!r}", cure=did_you_mean(key, spec.options), place=name)
    for key, default in spec.options.items():
        if default is inspect.Parameter.empty and key not in options:
            raise InvalidValueError(f"`{key}` is needed", cure=f"add {key}: … to the dataset", place=name)
    dataset = spec.factory(**options)
    if not isinstance(dataset, Dataset):
        cure = "wrap what it reads in mlcompare.Dataset, or adapt it with mlcompare.as_dataset"
        rule = "a reader must return a mlcompare.Dataset"
        raise InvalidValueError(rule, value=type(dataset).__name__, cure=cure, place=name)
    return dataset
