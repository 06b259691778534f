"""Training loops of one's own: everything around the loop stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from mlcompare.errors import InvalidValueError
from mlcompare.losses.base import Loss
from mlcompare.registry import Record, Registry, options_of
from mlcompare.training.config import TrainingConfig
from mlcompare.training.curve import Curve, undisturbed
from mlcompare.training.job import TrainingData, TrainingJob, TrainingResult
from mlcompare.training.prepare import Prepared, Standardizer
from mlcompare.training.record import score_embeddings
from mlcompare.training.scoring import embed, validation_score

__all__ = ["TRAINERS", "Assignment", "Embedder", "TrainerSpec", "register_trainer", "run_trainer"]

AT_ONCE = 4096  # samples that a function of one's own is given at a time, at most
Embedder = Callable[[np.ndarray], Any]  # samples as the dataset has them → embeddings (N, D)


@dataclass(frozen=True, kw_only=True)
class TrainerSpec(Record):
    """A registered trainer: ``factory(assignment, **options)`` → an encoder, or a function that embeds samples."""


TRAINERS = Registry("trainer", "trainers", TrainerSpec)
T = TypeVar("T", bound=Callable[..., Any])


@dataclass(frozen=True)
class Assignment:
    """What a trainer is given: one training of a study.

    Attributes:
        loss: the loss under comparison with its hyperparameters set; ``loss(embeddings, labels)``. Where it has
            weights of its own (``loss.parameters()``), they learn at ``config.head_rate``.
        encoder: the study's encoder with its first weights, to be trained, or left aside for one of your own.
        labels: of the samples to train on, ``(N,)`` int64 from 0 to C - 1; for a loss of levels, where the dataset has
            some, ``(N, L)``, that class first.
        gather: ``gather(numbers)`` reads some of those samples, ``(n, …)`` as the dataset has them, by their numbers
            from 0 to N - 1: what a loop over data beyond memory needs.
        standardize: what the encoder's input passes through first.
        config: steps, batch sizes, learning rate and the rest, with what this trial searches put in.
        hyperparameters: everything the trial set, the loss's values included.
        fold, random_state: which fold; what every random number should be drawn from.
        folder: where checkpoints of this training may lie; the same one when an interrupted study goes on. None
            outside a study.
        device: where to train.
        report: ``report(step, loss)`` writes the training loss into the study's curves, and
            ``report(step, loss, validate(encoder))`` the validation value with it.
        validate: ``validate(encoder)`` returns the study's objective on the fold's validation samples. It leaves the
            training as it is: modes, random numbers, running statistics.
    """

    loss: Loss
    encoder: nn.Module
    labels: np.ndarray
    standardize: Standardizer
    config: TrainingConfig
    hyperparameters: Mapping[str, Any]
    fold: int
    random_state: int
    folder: Path | None
    device: str
    gather: Callable[[np.ndarray], np.ndarray] = field(repr=False)
    report: Callable[..., None] = field(repr=False)
    validate: Callable[[nn.Module | Embedder], float] = field(repr=False)

    @cached_property
    def samples(self) -> np.ndarray:
        """All samples to train on, ``(N, …)``, in memory from the first time that they are asked for."""
        return self.gather(np.arange(len(self.labels)))

    @property
    def num_classes(self) -> int:
        """C, the number of training classes."""
        return int(self.labels.reshape(len(self.labels), -1)[:, 0].max()) + 1


def register_trainer(name: str, *, reference: str = "", replace: bool = False) -> Callable[[T], T]:
    """File a training loop under ``name``; a study uses it with ``trainer: <name>``.

    It is called as ``trainer(assignment, **options)`` with an :class:`Assignment` and returns what was trained: an
    ``nn.Module`` that takes standardised samples, or a function from samples as the dataset has them to embeddings; it
    is given at most 4096 at a time.

    Raises:
        InvalidValueError: the name is taken, and ``replace`` is not said.
    """

    def decorate(trainer: T) -> T:
        options = options_of(trainer, without=[next(iter(options_of(trainer)), "")])
        spec = TrainerSpec(name=name, factory=trainer, options=options, doc=trainer.__doc__ or "", reference=reference)
        TRAINERS.register(spec, replace=replace)
        return trainer

    return decorate


def run_trainer(job: TrainingJob, data: TrainingData, prepared: Prepared, result: TrainingResult) -> None:
    """Hand a job to its trainer, and score what comes back as any training is scored.

    Raises:
        InvalidValueError: the trainer returns something else, or the loss is trained in stages.
    """
    spec = TRAINERS.usable(str(job.trainer))
    if len(prepared.stages) != 1:
        rule = "a trainer of your own trains one loss"
        raise InvalidValueError(rule, value=f"{len(prepared.stages)} stages", cure="use the built-in loop")
    loss = prepared.stages[0].loss
    rows = prepared.rows.cpu().numpy()

    def embedder(trained: nn.Module | Embedder) -> Callable[[np.ndarray], Tensor]:
        return lambda chosen: _embed(trained, prepared.standardize, data.dataset.samples, chosen, spec.name)

    curve = Curve(job, data, prepared, result)

    def report(step: int, value: float, validation: float | None = None) -> None:
        result.history.setdefault("step", []).append(int(step))
        result.history.setdefault("loss", []).append(float(value))
        if validation is not None:
            curve.add(int(step), float(validation))

    def validate(trained: nn.Module | Embedder) -> float:
        with undisturbed(*(part for part in (trained, loss) if isinstance(part, nn.Module)), device=job.device):
            return validation_score(job, data, loss, embedder(trained))

    assignment = Assignment(
        loss=loss.train(), encoder=prepared.encoder.train(), labels=prepared.labels_for(loss).cpu().numpy(),
        standardize=prepared.standardize, config=prepared.config, hyperparameters=dict(job.hyperparameters),
        fold=job.fold, random_state=job.random_state, folder=_folder(job), device=job.device,
        gather=lambda numbers: data.dataset.samples[rows[numbers]], report=report, validate=validate,
    )  # fmt: skip
    torch.manual_seed(job.random_state % 2**63)
    trained = spec.factory(assignment, **job.trainer_options)
    result.step = int(result.history["step"][-1]) if "step" in result.history else prepared.config.steps
    score_embeddings(job, data, loss, embedder(trained), result)
    if prepared.config.evaluations and result.status == "ok":
        curve.add(result.step, validate(trained))
    if job.keep and result.status == "ok" and isinstance(trained, nn.Module):
        result.keep(trained, loss, prepared.class_counts)


def _embed(
    trained: nn.Module | Embedder, standardize: Standardizer, samples: np.ndarray, rows: np.ndarray, name: str
) -> Tensor:
    if isinstance(trained, nn.Module):
        return embed(trained, standardize, samples, rows)
    if not callable(trained):
        rule = "a trainer returns an nn.Module, or a function from samples to embeddings"
        raise InvalidValueError(rule, value=type(trained).__name__, place=name)
    chunks = (samples[rows[start : start + AT_ONCE]] for start in range(0, len(rows), AT_ONCE))
    return torch.cat([_embedded(trained, chunk, name) for chunk in chunks])


def _embedded(trained: Embedder, samples: np.ndarray, name: str) -> Tensor:
    with torch.no_grad():
        embeddings = torch.as_tensor(trained(samples)).detach().float()
    if embeddings.ndim != 2 or len(embeddings) != len(samples):
        rule = f"embeddings of {len(samples)} samples must be ({len(samples)}, D)"
        raise InvalidValueError(rule, value=str(tuple(embeddings.shape)), place=name)
    return embeddings


def _folder(job: TrainingJob) -> Path | None:
    if job.folder is None:
        return None
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
