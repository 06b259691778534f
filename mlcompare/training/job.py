"""A training as data: everything that decides its result, and the result."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlcompare.data import Dataset, Splits
from mlcompare.losses.compose import LossEntry, Term

__all__ = [
    "BASELINES",
    "PRECISIONS",
    "EncoderConfig",
    "TrainingConfig",
    "TrainingData",
    "TrainingJob",
    "TrainingResult",
    "derive_seed",
    "is_fitted",
]

BASELINES = ("raw_pixels", "pca", "hog", "lbp", "linear_svm", "untrained_encoder")
PRECISIONS = ("float32", "bfloat16")
UNFITTED = ("raw_pixels", "hog", "lbp")


@dataclass(frozen=True)
class EncoderConfig:
    """Which encoder: a registered name, the embedding dimension D, and the encoder's own options."""

    name: str = "conv4"
    embedding_dim: int = 64
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingConfig:
    """How every loss is trained alike; numbers that a study searches (``lr``) override it trial by trial.

    ``head_lr_ratio`` multiplies the learning rate of the loss's own weights; ``schedule`` is constant, cosine, or
    step (× ``step_factor`` at each of ``milestones``, shares of the training), after a linear rise over the share
    ``warmup``; ``augment`` maps augmentations to strengths. With ``precision="bfloat16"`` the encoder trains under
    autocast: faster where the processor has such units (GPUs, AMX), slower elsewhere; losses, weights and evaluation
    stay in float32.
    """

    steps: int = 100
    classes_per_batch: int = 8
    samples_per_class: int = 4
    sampler: str = "pk"
    optimizer: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1e-4
    momentum: float = 0.9
    head_lr_ratio: float = 1.0
    schedule: str = "constant"
    milestones: tuple[float, ...] = (0.6, 0.8)
    step_factor: float = 0.1
    warmup: float = 0.0
    augment: Mapping[str, float] = field(default_factory=dict)
    precision: str = "float32"


@dataclass(frozen=True)
class TrainingData:
    """The dataset and its splits, shared by all jobs of a study."""

    dataset: Dataset
    splits: Splits


@dataclass(frozen=True)
class TrainingJob:
    """One training (or one baseline) and its evaluation.

    ``fold`` is trained on; ``split`` is scored: the fold's validation samples, or the sealed test samples.
    ``hyperparameters`` holds the loss's values and whatever of :class:`TrainingConfig` the study searches.
    """

    key: str
    kind: str
    loss: LossEntry | None
    hyperparameters: Mapping[str, Any]
    encoder: EncoderConfig
    training: TrainingConfig
    fold: int
    seed: int
    split: str = "validation"
    metrics: tuple[str, ...] = ("map_at_r",)
    baseline: str | None = None
    device: str = "cpu"
    threads: int = 1
    keep: bool = False

    @classmethod
    def of(
        cls, loss: str | LossEntry, *, encoder: EncoderConfig | None = None, training: TrainingConfig | None = None,
        fold: int = 0, seed: int = 0, split: str = "validation", metrics: Sequence[str] = ("map_at_r",),
        keep: bool = True, **hyperparameters: Any,
    ) -> TrainingJob:  # fmt: skip
        """Return the job of one training outside a study, as a person writes it in a notebook.

        Args:
            loss: a registered name, or an entry made by hand (a sum, stages).
            **hyperparameters: of the loss, and of the training (``lr=…``); the rest stay at the paper's setting.

        >>> job = TrainingJob.of("cosface", margin=0.2, seed=3, training=TrainingConfig(steps=10))
        >>> job.key, job.loss.family, job.hyperparameters
        ('cosface/fold0/seed3', 'margin', {'margin': 0.2})
        """
        entry = loss if isinstance(loss, LossEntry) else LossEntry(loss, "single", (Term(loss),))
        return cls(
            f"{entry.name}/fold{fold}/seed{seed}", "trial", entry, hyperparameters, encoder or EncoderConfig(),
            training or TrainingConfig(), fold, seed, split, tuple(metrics), keep=keep,
        )  # fmt: skip


@dataclass
class TrainingResult:
    """What came of a job: metrics by name, or a reason why there are none.

    ``per_class`` is ``{metric: {class name: value}}``; ``history`` is ``{"step": [...], "loss": [...]}``; ``artifacts``
    (embeddings, labels, weights, the loss's own state) is filled where the job says ``keep``.
    """

    key: str
    status: str = "ok"
    reason: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    per_class: dict[str, dict[str, float]] = field(default_factory=dict)
    history: dict[str, list[float]] = field(default_factory=dict)
    health: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    peak_memory: int = 0
    device: str = "cpu"
    artifacts: dict[str, Any] | None = None


def is_fitted(baseline: str, metrics: Sequence[str]) -> bool:
    """Say whether a baseline's scores depend on what a fold trains on; accuracy always does (class means).

    >>> is_fitted("pca", ["map_at_r"]), is_fitted("raw_pixels", ["map_at_r"]), is_fitted("raw_pixels", ["accuracy"])
    (True, False, True)
    """
    return baseline not in UNFITTED or "accuracy" in metrics


def derive_seed(*parts: object) -> int:
    """Return a 63-bit seed that depends on every part and on nothing else.

    >>> derive_seed("batches", 0) == derive_seed("batches", 0) != derive_seed("batches", 1)
    True
    """
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int(np.frombuffer(digest[:8], dtype="<u8")[0] >> 1)
