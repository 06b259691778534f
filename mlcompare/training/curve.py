"""The learning curve of a training: validation at some steps along the way, which leaves the training as it is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from mlcompare.errors import InvalidValueError
from mlcompare.metrics import higher_is_better
from mlcompare.training.job import TrainingData, TrainingJob, TrainingResult
from mlcompare.training.prepare import Prepared, Stage, Standardizer
from mlcompare.training.scoring import embed, validation_score

__all__ = ["Curve", "evaluation_steps", "undisturbed"]

Weights = tuple[dict[str, Tensor], dict[str, Tensor]]  # of the encoder, of the loss


def evaluation_steps(steps: int, evaluations: int) -> tuple[int, ...]:
    """Return after which steps validation is measured: evenly spread over the training, the last one its end.

    >>> evaluation_steps(50, 5), evaluation_steps(3, 5), evaluation_steps(50, 0)
    ((10, 20, 30, 40, 50), (1, 2, 3), ())
    """
    return tuple(sorted({max(1, round(steps * k / evaluations)) for k in range(1, evaluations + 1)}))


class Curve:
    """Measures the objective on the fold's validation samples, never on sealed ones, and writes it into the result.

    Steps count over the whole training, all stages together. A step whose embeddings can't be scored is NaN.
    """

    def __init__(self, job: TrainingJob, data: TrainingData, prepared: Prepared, result: TrainingResult) -> None:
        self._job, self._data, self._standardize, self._result = job, data, prepared.standardize, result
        config = prepared.config
        self._steps, self._last_stage = config.steps, prepared.stages[-1]
        self._due = set(evaluation_steps(config.steps, config.evaluations))
        self._chooses = config.select == "best"
        self.best: tuple[float, int, Weights] | None = None  # larger is better, its step, its weights
        same_rows = job.split == "validation" and data.splits.folds[job.fold].curve is None
        self._ends_with_score = bool(self._due) and same_rows and not self._chooses
        if self._ends_with_score:
            self._due.remove(config.steps)

    def due(self, step: int) -> bool:
        """Whether validation is measured when ``step`` steps are done."""
        return step in self._due

    def measure(self, step: int, encoder: nn.Module, stage: Stage) -> None:
        """Measure now; with ``select: best``, keep the weights if they are the best so far."""
        value = _value(self._job, self._data, encoder, stage.loss, self._standardize)
        self.add(step, value)
        sign = 1 if higher_is_better(self._job.metrics[0]) else -1
        if not self._chooses or stage is not self._last_stage or not math.isfinite(value):
            return
        if self.best is None or sign * value > self.best[0]:
            self.best = (sign * value, step, (_copied(encoder), _copied(stage.loss)))

    def add(self, step: int, value: float) -> None:
        """Write down a value; steps only grow, and a repeated one is replaced."""
        curve = self._result.curve
        steps, values = curve.setdefault("step", []), curve.setdefault(self._job.metrics[0], [])
        while steps and steps[-1] >= step:
            steps.pop(), values.pop()
        steps.append(step)
        values.append(float(value))

    def choose(self, encoder: nn.Module) -> None:
        """Give encoder and loss the weights that are scored, and say which step they are of."""
        self._result.step = self._steps
        if self.best is not None:
            _, self._result.step, (of_encoder, of_loss) = self.best
            encoder.load_state_dict(of_encoder)
            self._last_stage.loss.load_state_dict(of_loss)

    def end(self) -> None:
        """Add the score of a search's training: it is the last point of its curve."""
        objective = self._job.metrics[0]
        if self._ends_with_score and objective in self._result.metrics:
            self.add(self._steps, self._result.metrics[objective])


def _value(
    job: TrainingJob, data: TrainingData, encoder: nn.Module, loss: nn.Module, standardize: Standardizer
) -> float:
    def embed_rows(chosen: np.ndarray) -> Tensor:
        return embed(encoder, standardize, data.dataset.samples, chosen)

    with undisturbed(encoder, loss, device=job.device):
        try:
            return validation_score(job, data, loss, embed_rows)
        except InvalidValueError:  # a training that went wrong fails at its end, with the reason
            return math.nan


@contextmanager
def undisturbed(*modules: nn.Module, device: str = "cpu") -> Iterator[None]:
    """Give back what an evaluation moves: training or evaluation mode of every part, and torch's random numbers.

    >>> layer = nn.Sequential(nn.Dropout().eval(), nn.Dropout())
    >>> with undisturbed(layer):
    ...     _ = layer.eval(), torch.rand(3)
    >>> [part.training for part in layer]
    [False, True]
    """
    modes = [(part, part.training) for module in modules for part in module.modules()]
    devices = [torch.device(device)] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            for part, mode in modes:
                part.training = mode


def _copied(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
