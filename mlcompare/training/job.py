"""A training as data: everything that decides its result, and the result."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from torch import Tensor, nn

from mlcompare.data import Dataset, Splits
from mlcompare.losses.compose import LossEntry, Term
from mlcompare.registry import by_name
from mlcompare.training.config import TrainingConfig
from mlcompare.training.pretrained import Statistics

__all__ = [
    "LOSS_STATE",
    "OUT_OF_MEMORY",
    "VALIDATION_NEAREST",
    "VALIDATION_ROWS",
    "EncoderConfig",
    "TrainingData",
    "TrainingJob",
    "TrainingResult",
    "artifact_path",
    "derive_seed",
    "job_key",
]


VALIDATION_ROWS, VALIDATION_NEAREST = "validation_rows", "validation_nearest"  # of a final training's artifacts
OUT_OF_MEMORY = "out of memory"  # the reason of a training that asked for more than there is
LOSS_STATE = "loss."  # before the names of a kept loss's own weights and running state


@dataclass(frozen=True)
class EncoderConfig:
    """Which encoder: a registered name, the embedding dimension D, its own options, and the weights it starts from.

    ``freeze`` holds patterns of what does not learn; ``batch_norm`` is ``train`` or ``eval``; ``statistics`` are the
    mean and deviation of each channel that the input is normalised by, in place of those of weights or data.
    """

    name: str = "conv4"
    embedding_dim: int = 64
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: str | None = None
    freeze: tuple[str, ...] = ()
    batch_norm: str = "train"
    statistics: Statistics | None = None


@dataclass(frozen=True)
class TrainingData:
    """The dataset and its splits, shared by all jobs of a study.

    ``teachers`` holds what losses distil from, by the name that they say: embeddings of every sample ``(N, T)``.
    """

    dataset: Dataset
    splits: Splits
    teachers: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)


def job_key(kind: str, name: str, *, fold: int, trial: int | None = None, seed: int | None = None) -> str:
    """Return the text that names a training in a study: the only place where it is composed, and nothing parses it.

    >>> job_key("final", "pml/ArcFaceLoss", trial=3, fold=1, seed=0)
    'final/pml/ArcFaceLoss/3/fold1/seed0'
    """
    parts = [kind, name, None if trial is None else str(trial), f"fold{fold}", None if seed is None else f"seed{seed}"]
    return "/".join(part for part in parts if part is not None)


def artifact_path(loss: str, *, trial: int | None, fold: int, seed: int | None) -> PurePosixPath:
    """Return where a final training leaves its files in a store's ``artifacts``, less their ending.

    >>> str(artifact_path("cosface", trial=3, fold=1, seed=0))
    'final/cosface/3/fold1-seed0'
    """
    return PurePosixPath("final", loss, str(trial), f"fold{fold}-seed{seed}")


@dataclass(frozen=True)
class TrainingJob:
    """One training (or one baseline) and its evaluation.

    ``kind`` is ``trial``, ``final`` or ``baseline``. ``fold`` is trained on; ``split`` is scored: the fold's validation
    samples, or the sealed test samples. ``random_state`` decides everything that is drawn; ``seed`` counts the
    repetitions of a final training. ``hyperparameters`` holds the loss's values and whatever of
    :class:`TrainingConfig` the study searches. ``trainer`` names a registered training loop (the built-in one where
    None), and ``folder`` is where the training may keep checkpoints. ``least`` holds ``(step, value)`` pairs: where all
    ``raced`` folds of a trial train in one population, and the mean of their objectives is worse than the value at that
    step, they end there. ``rank_devices`` are those of a training in several ranks, the first of them ``device``.
    """

    kind: str
    loss: LossEntry | None
    hyperparameters: Mapping[str, Any]
    encoder: EncoderConfig
    training: TrainingConfig
    fold: int
    random_state: int
    trial: int | None = None
    seed: int | None = None
    split: str = "validation"
    metrics: tuple[str, ...] = ("map_at_r",)
    baseline: str | None = None
    device: str = "cpu"
    threads: int = 1
    keep: bool = False
    trainer: str | None = None
    trainer_options: Mapping[str, Any] = field(default_factory=dict)
    folder: str | None = None
    least: tuple[tuple[int, float], ...] = ()
    raced: int = 0
    rank_devices: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The loss's entry, or the baseline."""
        return self.loss.name if self.loss is not None else str(self.baseline)

    @property
    def key(self) -> str:
        """What names this training in its study; see :func:`job_key`."""
        return job_key(self.kind, self.name, trial=self.trial, fold=self.fold, seed=self.seed)

    @classmethod
    def of(
        cls, loss: str | LossEntry, *, encoder: EncoderConfig | None = None, training: TrainingConfig | None = None,
        fold: int = 0, random_state: int = 0, split: str = "validation", metrics: Sequence[str] = ("map_at_r",),
        keep: bool = True, **hyperparameters: Any,
    ) -> TrainingJob:  # fmt: skip
        """Return the job of one training outside a study, as a person writes it in a notebook.

        Args:
            loss: a registered name, or an entry made by hand (a sum, stages).
            **hyperparameters: of the loss, and of the training (``lr=…``); the rest stay at the defaults.

        >>> job = TrainingJob.of("cosface", margin=0.2, random_state=3, training=TrainingConfig(steps=10))
        >>> job.key, job.loss.family, job.hyperparameters
        ('trial/cosface/0/fold0', 'margin', {'margin': 0.2})
        """
        entry = loss if isinstance(loss, LossEntry) else LossEntry(loss, "single", (Term(loss),))
        hyperparameters = by_name(hyperparameters, {**entry.hyperparameters, **entry.options})
        return cls(
            "trial", entry, hyperparameters, encoder or EncoderConfig(), training or TrainingConfig(), fold,
            random_state, trial=0, split=split, metrics=tuple(metrics), keep=keep,
        )  # fmt: skip


@dataclass
class TrainingResult:
    """What came of a job: metrics by name, or a reason why there are none.

    ``status`` is ``ok``, ``failed``, or ``stopped`` where a race ended the training before its last step.

    ``per_class`` is ``{metric: {class name: value}}``; ``history`` is ``{"step": [...], "loss": [...]}``; ``curve`` the
    objective on the fold's validation samples along the training, ``{"step": [...], "map_at_r": [...]}``; ``step`` how
    many steps the scored weights were trained for. ``artifacts`` (embeddings, labels, weights, the loss's own state) is
    filled where the job says ``keep``. ``retried`` says how it was trained after it had run out of memory.
    """

    key: str
    status: str = "ok"
    reason: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    per_class: dict[str, dict[str, float]] = field(default_factory=dict)
    history: dict[str, list[float]] = field(default_factory=dict)
    curve: dict[str, list[float]] = field(default_factory=dict)
    step: int | None = None
    health: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    peak_memory: int = 0
    device: str = "cpu"
    artifacts: dict[str, Any] | None = None
    retried: str | None = None

    def keep(self, encoder: nn.Module, loss: nn.Module, class_counts: Tensor) -> None:
        """Add the weights of what was trained to the artifacts, as arrays: they travel between processes by value."""
        self.artifacts = {
            **(self.artifacts or {}),
            "weights": {name: _array(tensor) for name, tensor in encoder.state_dict().items()},
            "class_counts": class_counts.cpu().numpy(),
            **{f"{LOSS_STATE}{name}": _array(tensor) for name, tensor in loss.state_dict().items()},
        }


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().contiguous().numpy()


def derive_seed(*parts: object) -> int:
    """Return a 63-bit seed that depends on every part and on nothing else.

    >>> derive_seed("batches", 0) == derive_seed("batches", 0) != derive_seed("batches", 1)
    True
    """
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int(np.frombuffer(digest[:8], dtype="<u8")[0] >> 1)
