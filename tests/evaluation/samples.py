"""Small embeddings to score, smooth ones and ones full of ties."""

import numpy as np


def make(seed=0, n=40, d=5, classes=6, grid=None):
    """Clustered embeddings; with ``grid`` they lie on a coarse lattice, so that many similarities tie."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    labels[:classes] = np.arange(classes)
    labels[classes : 2 * classes] = np.arange(classes)
    vectors = rng.normal(size=(classes, d))[labels] + rng.normal(size=(n, d))
    if grid:
        vectors = np.round(vectors * grid) / grid
        vectors[np.abs(vectors).sum(axis=1) == 0, 0] = 1.0
    return vectors, labels
