"""A baseline: a function that embeds rows of the dataset, without any training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mlcompare import register_baseline
from mlcompare.training import TrainingData, TrainingJob


@register_baseline("zoo_baseline", fitted=False)
def zoo_baseline(job: TrainingJob, data: TrainingData) -> Callable[[np.ndarray], Tensor]:
    """The spectrum's amplitudes."""

    def embed(rows: np.ndarray) -> Tensor:
        samples = data.dataset.samples[rows].reshape(len(rows), -1).astype(np.float32)
        return torch.fft.rfft(torch.as_tensor(samples), dim=1).abs()[:, 1:65]

    return embed
