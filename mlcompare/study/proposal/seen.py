"""What was seen of some data, in words."""

from __future__ import annotations

import numpy as np

from mlcompare.data.survey import Survey

__all__ = ["UNEVEN", "seen"]

UNEVEN = 10  # how many times larger the largest class is than the median one before it is called a long tail
KINDS = {
    "image_folder": "a folder of images, classes by folder",
    "image_list": "a list of images",
    "features": "features, a row for each sample",
    "idx": "IDX files of images",
}


def seen(found: Survey) -> list[str]:
    """Return sentences: kind, classes and samples, sizes and colours, official split, what is odd."""
    sizes, count = found.sizes, len(found.labels)
    classes = "1 class" if len(sizes) == 1 else f"{len(sizes)} classes"
    told = [f"{KINDS[found.reader]}: {count} samples of {classes}", _of_sizes(sizes), *_of_samples(found)]
    if found.split is not None:
        parts, counts = np.unique(found.split, return_counts=True)
        listed = ", ".join(f"{number} {part}" for part, number in zip(parts, counts))
        told.append(f"an official split: {listed}; {_of_split(found)}")
    return [*told, *found.reasons.values(), *found.notes]


def _of_sizes(sizes: np.ndarray) -> str:
    low, middle, high = int(sizes.min()), float(np.median(sizes)), int(sizes.max())
    if low == high:
        return f"every class has {low} sample{'s' * (low > 1)}"
    text = f"{low} to {high} samples a class, {middle:g} in the median"
    if low == 1:
        text += f"; {int((sizes == 1).sum())} classes have one"
    return text + ("; a long tail: few classes hold most samples" if high >= UNEVEN * middle else "")


def _of_samples(found: Survey) -> list[str]:
    if found.images is None:
        assert found.dataset is not None
        shape = found.dataset.sample_shape
        return [f"{shape[1]} × {shape[2]} pixels, grey" if len(shape) == 3 else f"{shape[0]} features a sample"]
    low, high = found.images.sizes.min(axis=0), found.images.sizes.max(axis=0)
    height, width = found.images.usual
    size = f"{height} × {width} pixels (height × width)" if found.images.one_size else (
        f"{height} × {width} pixels in the median (height × width), {low[0]} × {low[1]} to {high[0]} × {high[1]}"
    )  # fmt: skip
    looked = "all" if found.images.everything else f"{found.images.opened} files"
    return [f"{size}, {'in colour' if found.images.coloured else 'grey'} ({looked} opened)"]


def _of_split(found: Survey) -> str:
    test = found.split == "test"
    sealed, rest = np.unique(found.labels[test]), np.unique(found.labels[~test])
    both = len(np.intersect1d(sealed, rest))
    if not both:
        return "the classes of test are in no other part"
    return (
        "test has the classes of training"
        if both == len(sealed)
        else f"{both} of the {len(sealed)} test classes are also trained on"
    )
