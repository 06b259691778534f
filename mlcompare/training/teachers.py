"""What teachers say of each batch: embeddings that were made before, told to the losses that distil from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from mlcompare.errors import InvalidValueError
from mlcompare.losses.base import Loss
from mlcompare.losses.distillation import Distillation

__all__ = ["Teachers", "distilling", "make_room"]


def distilling(loss: Loss) -> dict[str, Distillation]:
    """Return the parts of a loss, or itself, that distil: by the names that they have as modules."""
    return {name: part for name, part in loss.named_modules() if isinstance(part, Distillation)}


def make_room(loss: Loss, teachers: Mapping[str, np.ndarray], batch: int) -> None:
    """Have a loss know the shapes of what it is told of each batch, before it is stacked or restored.

    Args:
        teachers: their names, as losses say them → embeddings of every sample of the dataset ``(N, T)``.
        batch: B, samples in a batch.

    Raises:
        InvalidValueError: the data have no such teacher.
    """
    for part in distilling(loss).values():
        if part.teacher not in teachers:
            rule, cure = "the data must have the teacher", "give TrainingData(…, teachers={name: embeddings})"
            raise InvalidValueError(rule, value=repr(part.teacher), cure=cure, place="distillation")
        part.told = torch.zeros(batch, teachers[part.teacher].shape[1])


class Teachers:
    """The teachers of a stage's loss, on its device; with none of them everything here does nothing.

    Args:
        loss: what the stage trains; members of a population have the same teachers.
        teachers: those of the data, by name.
        rows: of the dataset, that each step trains on: ``(steps, B)``, or ``(steps, M, B)`` of a population.
    """

    def __init__(self, loss: Loss, teachers: Mapping[str, np.ndarray], rows: Tensor) -> None:
        self._parts, self._rows = distilling(loss), rows
        self._tables = {
            name: torch.as_tensor(np.asarray(teachers[part.teacher])).to(rows.device)
            for name, part in self._parts.items()
        }

    def tell(self, step: int) -> None:
        """Tell the loss its teachers' embeddings of a step's batch."""
        for name, part in self._parts.items():
            part.set_teacher(self._tables[name][self._rows[step]])

    def tell_all(self, step: int, buffers: Mapping[str, Tensor]) -> None:
        """Tell the losses of a population, whose buffers are stacked, each of its own batch."""
        for name, table in self._tables.items():
            buffers[f"{name}.told".lstrip(".")].copy_(table[self._rows[step]])  # (M, B, T)

    def keep(self, members: Sequence[int]) -> None:
        """Go on with some members of a population."""
        if self._tables:
            self._rows = self._rows[:, list(members)]
