"""How samples are read and batched, and by which encoders: chosen from their shape and number."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlcompare.data import Dataset, Splits
from mlcompare.data.survey import Survey

__all__ = ["batch_of", "encoders_for", "picture_size", "stand_in"]

LADDER = (  # from the fastest on: the longer side in pixels, and the encoder
    (32, {"name": "conv", "channels": [16, 32]}),
    (48, {"name": "conv4"}),
    (64, {"name": "conv4", "width": 32}),
    (96, {"name": "resnet", "depth": 10, "width": 32}),
)
MANY_SAMPLES = 5000  # from which on a residual network is worth its time
STEP = 7  # bytes between two pictures of a stand-in: noise that is nowhere the same, in hardly any memory
WHOLE_STEP = 4  # pixels that the sides of a picture are rounded to


def picture_size(usual: tuple[int, int], longer: int) -> tuple[int, int]:
    """Return height and width no larger than they are, with ``longer`` pixels at most, in the same proportion.

    >>> picture_size((112, 92), 64), picture_size((28, 28), 64), picture_size((480, 500), 48)
    ((64, 52), (28, 28), (48, 48))
    """
    height, width = usual
    scale = min(1.0, longer / max(height, width))
    if abs(height - width) <= 0.1 * max(height, width):
        height = width = max(height, width)
    if scale == 1.0:
        return max(height, 4), max(width, 4)
    rounded = [max(8, WHOLE_STEP * round(side * scale / WHOLE_STEP)) for side in (height, width)]
    return rounded[0], rounded[1]


def encoders_for(found: Survey) -> list[tuple[tuple[int, ...], dict[str, Any]]]:
    """Return the shapes of a sample and the encoders to choose among, the fastest first."""
    if not found.is_images:
        assert found.dataset is not None
        (width,) = found.dataset.sample_shape
        name = "mlp" if len(found.labels) >= 1000 else "linear"
        return [((width,), {"name": name, "embedding_dim": min(64, max(8, width))})]
    dim = 128 if len(found.class_names) >= 10_000 else 64
    ladder = [rung for rung in LADDER if rung[1]["name"] != "resnet" or len(found.labels) >= MANY_SAMPLES]
    if found.images is None:
        assert found.dataset is not None
        shapes = [found.dataset.sample_shape] * len(ladder)
    else:
        channels = 3 if found.images.coloured else 1
        shapes = [(channels, *picture_size(found.images.usual, longer)) for longer, _ in ladder]
    small = max(shapes[-1][1:]) <= LADDER[0][0]  # small pictures: the large encoders are for large ones
    kept = [(shape, encoder) for shape, (longer, encoder) in zip(shapes, ladder) if not small or longer <= 48]
    return [(shape, {**encoder, "embedding_dim": dim}) for shape, encoder in kept]


def batch_of(splits: Splits, labels: np.ndarray) -> tuple[int, int]:
    """Return P, the classes of a batch, and K, the samples of each."""
    trained = [labels[fold.train] for fold in splits.folds]
    classes, rows = min(len(np.unique(each)) for each in trained), min(len(each) for each in trained)
    batch = 32 if rows < 1000 else 64 if classes < 1000 else 128
    usual = float(np.median(np.unique(trained[0], return_counts=True)[1]))
    samples = 4 if usual >= 4 else 2
    if classes < batch // samples:
        most = min(16, batch // classes, max(int(usual), 2))
        samples = max(2, *(2**power for power in range(1, 5) if 2**power <= most), 2)
    return min(classes, batch // samples), samples


def stand_in(found: Survey, shape: tuple[int, ...], *, most: int | None = None) -> Dataset:
    """Return a dataset with these labels and noise for images, so that none is read; features are themselves.

    Args:
        shape: ``(C, H, W)``.
        most: about how many samples are kept, some of each class.
    """
    if found.dataset is not None and most is None:
        return found.dataset
    rows = np.arange(len(found.labels)) if most is None else _thinned(found, most)
    labels, split = found.labels[rows], None if found.split is None else found.split[rows]
    if found.dataset is not None:
        samples = found.dataset.samples[rows]
    else:
        noise = np.random.default_rng(0).integers(0, 256, STEP * len(rows) + int(np.prod(shape)), dtype=np.uint8)
        strides = (STEP, shape[1] * shape[2], shape[2], 1)
        samples = np.lib.stride_tricks.as_strided(noise, (len(rows), *shape), strides)
    name = f"stand-in {len(rows)} {most} {shape}"
    return Dataset(found.reader, samples, labels, found.class_names, split=split, fingerprint=name)


def _thinned(found: Survey, most: int) -> np.ndarray:
    """The first rows of each class and part, equally many."""
    if len(found.labels) <= most:
        return np.arange(len(found.labels))
    part = np.zeros(len(found.labels), dtype=np.int64)
    if found.split is not None:
        part = np.unique(found.split, return_inverse=True)[1]
    groups = found.labels * (int(part.max()) + 1) + part
    order = np.argsort(groups, kind="stable")
    _, starts, counts = np.unique(groups[order], return_index=True, return_counts=True)
    within = np.arange(len(order)) - np.repeat(starts, counts)
    return np.sort(order[within < max(most // len(counts), 4)])
