"""Scikit-learn's digits: 1797 images of 8 × 8 pixels, 10 classes, no download."""

from __future__ import annotations

import numpy as np

from mlcompare.data.dataset import Dataset, register_dataset

__all__ = ["digits"]


@register_dataset("digits")
def digits() -> Dataset:
    """Scikit-learn's handwritten digits: 1797 grey images, 8 × 8 pixels, 10 classes (UCI, Alpaydin and Kaynak)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    samples = (bunch.images * (255 / 16)).round().astype(np.uint8)[:, None]  # (N, 1, 8, 8)
    names = tuple(str(name) for name in bunch.target_names)
    return Dataset("digits", samples, bunch.target.astype(np.int64), names, credit="E. Alpaydin, C. Kaynak; UCI")
