"""Where the dataset of a frozen encoder is embedded."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlcompare.data import Dataset, Splits
from mlcompare.execution.apart import run_apart
from mlcompare.training import TrainingData
from mlcompare.training.frozen import EmbedAll, embed_all

__all__ = ["embedder"]


def embedder(device: str, splits: Splits) -> EmbedAll:
    """Return what embeds a dataset: here, or for a CUDA device in another process.

    A process that has used a CUDA device holds some of its memory until it ends, and a coordinator ends last.
    """
    if not device.startswith("cuda"):
        return embed_all

    def apart(dataset: Dataset, *more: Any) -> np.ndarray:
        found: np.ndarray = run_apart(_embed, TrainingData(dataset, splits), *more)
        return found

    return apart


def _embed(data: TrainingData, *more: Any) -> np.ndarray:
    return embed_all(data.dataset, *more)
