"""A finished training brought back: its encoder and its loss, as they were when it ended."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mlcompare.errors import InvalidValueError
from mlcompare.losses.base import Loss
from mlcompare.training.job import LOSS_STATE, TrainingData, TrainingJob, TrainingResult
from mlcompare.training.prepare import Standardizer, prepare
from mlcompare.training.scoring import embed

__all__ = ["Trained", "restore"]


@dataclass(frozen=True)
class Trained:
    """What a training left: ``encoder`` and ``loss`` (of its last stage), both in evaluation mode."""

    encoder: nn.Module
    loss: Loss
    standardize: Standardizer

    def embed(self, samples: np.ndarray) -> Tensor:
        """Return embeddings ``(N, D)`` of samples as the dataset holds them."""
        return embed(self.encoder, self.standardize, samples)


def restore(job: TrainingJob, data: TrainingData, result: TrainingResult) -> Trained:
    """Return the encoder and the loss of a job that was trained with ``keep``.

    Raises:
        InvalidValueError: the training failed, or the job didn't keep its weights.
    """
    if not result.artifacts or "weights" not in result.artifacts:
        why = result.reason or "keep=False"
        cure = "train it with keep=True"
        raise InvalidValueError("the training must have kept its weights", value=why, cure=cure, place=job.key)
    prepared = prepare(job, data)
    loss = prepared.stages[-1].loss
    prepared.encoder.load_state_dict(_tensors(result.artifacts["weights"]))
    state = {key: value for key, value in result.artifacts.items() if key.startswith(LOSS_STATE)}
    loss.load_state_dict(_tensors({key.removeprefix(LOSS_STATE): value for key, value in state.items()}))
    return Trained(prepared.encoder.eval(), loss.eval(), prepared.standardize)


def _tensors(arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
    return {name: torch.as_tensor(array) for name, array in arrays.items()}
