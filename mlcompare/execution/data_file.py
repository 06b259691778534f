"""A study's data as a file that worker processes map: laid out once by the coordinator, never copied."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np

from mlcompare.data import Dataset
from mlcompare.data.teacher import teacher_hash
from mlcompare.files import whole_file
from mlcompare.training import TrainingData

__all__ = ["DataFile", "lay_out", "open_data"]

DataFile = tuple[str, bytes]  # the path of the samples, and everything else, pickled


def lay_out(data: TrainingData, folder: Path) -> DataFile:
    """Write the samples where workers can map them, if they don't lie in such a file already.

    Returns:
        The path of the samples, and everything else, pickled.
    """
    dataset = data.dataset
    path = _mapped_file(dataset.samples) or folder / f"{dataset.fingerprint[:32]}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            np.save(file, dataset.samples)
    kept = ("name", "labels", "class_names", "split", "credit", "fingerprint", "levels", "feature_scale")
    teachers = {name: _laid_out(embeddings, folder) for name, embeddings in data.teachers.items()}
    return str(path), pickle.dumps(({name: getattr(dataset, name) for name in kept}, data.splits, teachers))


def _laid_out(embeddings: np.ndarray, folder: Path) -> str:
    """Write a teacher's embeddings where workers can map them, if they aren't there."""
    path = folder / f"{teacher_hash(embeddings)[:32]}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            np.save(file, embeddings)
    return str(path)


def _mapped_file(samples: np.ndarray) -> Path | None:
    """Return the .npy file that the samples are a map of, all of it; None where there is none."""
    name = getattr(samples, "filename", None)
    if not isinstance(samples, np.memmap) or name is None or not str(name).endswith(".npy"):
        return None
    whole = np.load(name, mmap_mode="r", allow_pickle=False)
    same = (whole.shape, whole.dtype, whole.offset) == (samples.shape, samples.dtype, samples.offset)
    return Path(name) if same and whole.strides == samples.strides else None


def open_data(data_file: DataFile) -> TrainingData:
    """Return the data that :func:`lay_out` left; the samples are mapped, not read."""
    path, pickled = data_file
    rest, splits, teachers = pickle.loads(pickled)  # our own parent's bytes
    embeddings = {name: np.load(file, mmap_mode="c") for name, file in teachers.items()}
    return TrainingData(Dataset(samples=np.load(path, mmap_mode="c"), **rest), splits, embeddings)
