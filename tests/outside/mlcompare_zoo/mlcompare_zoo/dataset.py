"""A dataset: any map-style dataset of (image, label), adapted by one call."""

from __future__ import annotations

import numpy as np
from torch.utils.data import Dataset as TorchDataset

from mlcompare import Dataset, as_dataset, register_dataset


class Stripes(TorchDataset):
    """Noisy stripes; the class is their slope."""

    def __init__(self, classes: int, each: int) -> None:
        self.classes, self.each = classes, each

    def __len__(self) -> int:
        return self.classes * self.each

    def __getitem__(self, row: int) -> tuple[np.ndarray, int]:
        label = row // self.each
        rng = np.random.default_rng(row)
        down, right = np.mgrid[:16, :16]
        angle = np.pi * label / self.classes
        wave = np.sin(1.2 * (down * np.sin(angle) + right * np.cos(angle)) + rng.uniform(0, 6))
        return np.clip(127 + 90 * wave + rng.normal(0, 25, (16, 16)), 0, 255).astype(np.uint8), label


@register_dataset("zoo_dataset")
def zoo_dataset(classes: int = 12, each: int = 8) -> Dataset:
    """Stripes of several slopes."""
    return as_dataset(Stripes(classes, each), name="zoo_dataset")
