"""The life of a worker process: one bundle of jobs after the other. Workers load neither Optuna nor MLflow."""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import queue
import signal
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from mlcompare.data import Dataset
from mlcompare.training.baselines import run_baseline
from mlcompare.training.job import TrainingData, TrainingJob, TrainingResult
from mlcompare.training.loop import train
from mlcompare.training.population import train_population

__all__ = ["Bundle", "DataSource", "keep_freed_memory", "lay_out", "load", "run_bundle", "versions", "work"]

Bundle = tuple[TrainingJob, ...]  # one job, a population that trains as one program, or a baseline's folds
DataSource = tuple[str, bytes]

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # glibc's malloc.h


def versions() -> dict[str, str]:
    """Return the versions of the packages that decide a training's numbers."""
    import torch

    from mlcompare import __version__

    return {"mlcompare": __version__, "torch": torch.__version__, "numpy": np.__version__}


def run_bundle(bundle: Bundle, data: TrainingData) -> list[TrainingResult]:
    """Run baselines, a training, or a population, with the threads of every library pinned: they change results."""
    with threadpool_limits(bundle[0].threads):
        if bundle[0].kind == "baseline":
            return [run_baseline(job, data) for job in bundle]
        return train_population(bundle, data) if len(bundle) > 1 else [train(bundle[0], data)]


def lay_out(data: TrainingData, folder: Path) -> DataSource:
    """Write the samples where workers can map them, if they don't lie in such a file already.

    Returns:
        The path of the samples, and everything else, pickled.
    """
    dataset = data.dataset
    path = _mapped_file(dataset.samples) or folder / f"{dataset.fingerprint[:32]}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{path.name}.{os.getpid()}"
        with temporary.open("wb") as file:
            np.save(file, dataset.samples)
        temporary.replace(path)
    rest = (dataset.name, dataset.labels, dataset.class_names, dataset.split, dataset.credit, dataset.fingerprint)
    return str(path), pickle.dumps((rest, data.splits))


def _mapped_file(samples: np.ndarray) -> Path | None:
    """Return the .npy file that the samples are a map of, all of it; None where there is none."""
    name = getattr(samples, "filename", None)
    if not isinstance(samples, np.memmap) or name is None or not str(name).endswith(".npy"):
        return None
    whole = np.load(name, mmap_mode="r", allow_pickle=False)
    same = (whole.shape, whole.dtype, whole.offset) == (samples.shape, samples.dtype, samples.offset)
    return Path(name) if same and whole.strides == samples.strides else None


def load(source: DataSource) -> TrainingData:
    """Return the data that :func:`lay_out` left; the samples are mapped, not read."""
    path, pickled = source
    (name, *rest), splits = pickle.loads(pickled)  # our own parent's bytes
    return TrainingData(Dataset(name, np.load(path, mmap_mode="c"), *rest), splits)


def work(pipe: Connection, source: DataSource) -> None:
    """Run the bundles that come and send their results; end at once when the coordinator is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the coordinator's to handle
    pickled: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(pipe, pickled), daemon=True).start()
    keep_freed_memory()
    data, before = load(source), None
    gc.freeze()  # what torch has loaded stays: going through it takes the collector .2 s each time
    while True:
        bundle: Bundle = pickle.loads(pickled.get())  # our own parent's bytes
        likeness = (bundle[0].kind, bundle[0].loss, bundle[0].baseline, len(bundle))
        if likeness != before:
            release_freed_memory()
        pipe.send(run_bundle(bundle, data))
        before = likeness


def _receive(pipe: Connection, pickled: queue.SimpleQueue[bytes]) -> None:
    try:
        while True:
            pickled.put(pipe.recv_bytes())
    except (EOFError, OSError):
        os._exit(1)


def keep_freed_memory() -> None:
    """Have the C library keep up to 2 GiB of what a step frees, for the next step, where it can be told so (glibc).

    By default every tensor above a size is fresh pages from the system, each cleared and mapped again: up to a third
    of a small training's time. For processes that only train: they end soon and return everything.
    """
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in ((M_MMAP_THRESHOLD, 1 << 25), (M_TRIM_THRESHOLD, (1 << 31) - 1), (M_TOP_PAD, 1 << 26)):
            mallopt(option, value)


def release_freed_memory() -> None:
    """Give back what :func:`keep_freed_memory` kept, so that the peak of another sort of training is its own."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
