"""Local binary patterns: what textures a picture has where, without any training."""

from __future__ import annotations

import numpy as np

__all__ = ["local_binary_patterns"]

PATTERNS = 59  # 58 uniform patterns of 8 neighbours, and one for all others
CELLS = 7  # a side, as in the paper
CELL_PIXELS = 4  # a cell has at least so many a side


def local_binary_patterns(images: np.ndarray) -> np.ndarray:
    """Return histograms of uniform local binary patterns in a grid, ``(N, F)`` float32 (Ahonen et al. 2006).

    A pixel's pattern says which of its 8 neighbours are at least as bright. Histograms of 7×7 cells (fewer on small
    images) are divided by their sum and square-rooted, so that a cosine is the mean Bhattacharyya coefficient.

    Args:
        images: ``(N, C, H, W)``; of several channels the mean is taken.

    >>> local_binary_patterns(np.zeros((2, 1, 8, 8), np.uint8)).shape
    (2, 236)
    """
    from skimage.feature import local_binary_pattern

    grey = images.mean(1).round().astype(np.uint8) if images.shape[1] > 1 else images[:, 0]
    codes = np.stack([local_binary_pattern(image, 8, 1, "nri_uniform") for image in grey]).astype(np.int64)
    count, height, width = codes.shape
    grid = min(CELLS, max(1, min(height, width) // CELL_PIXELS))
    rows, columns = (np.arange(size) * grid // size for size in (height, width))
    cells = rows[:, None] * grid + columns  # (H, W)
    slots = (np.arange(count)[:, None, None] * grid**2 + cells) * PATTERNS + codes
    histograms = np.bincount(slots.ravel(), minlength=count * grid**2 * PATTERNS).reshape(count, grid**2, PATTERNS)
    return np.sqrt(histograms / histograms.sum(2, keepdims=True)).reshape(count, -1).astype(np.float32)
