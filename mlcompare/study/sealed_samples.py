"""What a report needs to know of the sealed samples: which they are, their classes, and small images of them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from mlcompare.data.duplicates import contents
from mlcompare.files import make_folder, write_atomically
from mlcompare.tracking.study_runs import INPUT_EXAMPLE
from mlcompare.training import TrainingData

__all__ = ["CONTENTS", "SEALED_SAMPLES", "keep_contents", "keep_test_samples", "sealed_class_sizes", "small_images"]

SEALED_SAMPLES = "test_samples.npz"
CONTENTS = "contents.npz"  # what a later study that starts from this one compares its sealed samples with
LONGEST_SIDE = 64  # pixels
MOST_BYTES = 64 * 2**20  # of all images; a larger test set gets none


def keep_test_samples(store: Path, data: TrainingData) -> None:
    """Leave ``artifacts/test_samples.npz`` in a store, once: ``rows (N,)``, ``labels (N,)``, ``class_names`` and, of
    image data, ``images (N, C, h, w)`` uint8, at most 64 pixels high and wide; and an example of an encoder's input."""
    path = store / "artifacts" / SEALED_SAMPLES
    if path.is_file():
        return
    example = data.dataset.samples[data.splits.folds[0].train[:2]]
    _write(store / "artifacts" / INPUT_EXAMPLE, np.save, example)
    rows = data.splits.test
    arrays = {"rows": rows, "labels": data.dataset.labels[rows], "class_names": np.array(data.dataset.class_names)}
    if data.dataset.is_images:
        channels, height, width = data.dataset.sample_shape
        shrink = min(1.0, LONGEST_SIDE / max(height, width))
        size = max(1, round(height * shrink)), max(1, round(width * shrink))
        if channels in (1, 3) and len(rows) * channels * size[0] * size[1] <= MOST_BYTES:
            arrays["images"] = small_images(data.dataset.samples, rows, size)
    _write(path, np.savez_compressed, **arrays)


def keep_contents(store: Path, data: TrainingData) -> None:
    """Leave ``artifacts/contents.npz`` in a store, once: hashes of the samples that its search saw, and of the sealed.

    A set too large to hash leaves nothing.
    """
    path, hashes = store / "artifacts" / CONTENTS, None
    if not path.is_file():
        hashes = contents(data.dataset)
    if hashes is not None:
        sealed = np.zeros(len(data.dataset), dtype=bool)
        sealed[data.splits.test] = True
        _write(path, np.savez_compressed, seen=hashes[~sealed], sealed=hashes[sealed])


def sealed_class_sizes(store: Path) -> dict[str, int]:
    """Return how many sealed samples each class has, by name; nothing where the store doesn't say."""
    path = store / "artifacts" / SEALED_SAMPLES
    if not path.is_file():
        return {}
    with np.load(path) as kept:
        present, counts = np.unique(kept["labels"], return_counts=True)
        return {str(kept["class_names"][label]): int(count) for label, count in zip(present, counts)}


def _write(path: Path, save: Callable, *arrays: np.ndarray, **named: np.ndarray) -> None:
    buffer = io.BytesIO()
    save(buffer, *arrays, **named)
    make_folder(path.parent)
    write_atomically(path, buffer.getvalue())


def small_images(samples: np.ndarray, rows: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return ``samples[rows]``, ``(N, C, H, W)`` uint8, reduced to ``size = (height, width)``."""
    if samples.shape[2:] == size:
        return np.ascontiguousarray(samples[rows])
    small = np.empty((len(rows), samples.shape[1], *size), np.uint8)
    for i, row in enumerate(rows):
        for c in range(samples.shape[1]):
            plane = Image.fromarray(np.ascontiguousarray(samples[row, c]))
            small[i, c] = np.asarray(plane.resize(size[::-1], Image.Resampling.BOX))
    return small
