"""What every engine starts from: encoder, losses, batches and random streams of one job, all drawn from its seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from mlcompare.data import SAMPLERS, Dataset
from mlcompare.data.levels import group_codes
from mlcompare.encoders import create_encoder
from mlcompare.errors import InvalidValueError
from mlcompare.losses.base import Loss
from mlcompare.losses.label_forms import LEVELS
from mlcompare.training.config import TrainingConfig
from mlcompare.training.freeze import freeze
from mlcompare.training.job import TrainingData, TrainingJob, derive_seed
from mlcompare.training.pretrained import load_weights
from mlcompare.training.searched import EMBEDDING_DIM, of_training, with_searched
from mlcompare.training.teachers import make_room

__all__ = [
    "Prepared",
    "Stage",
    "Standardizer",
    "build_encoder",
    "check_statistics",
    "encoder_precision",
    "own_random_numbers",
    "prepare",
    "random_streams",
    "stage_batches",
    "stream",
]

CHUNK, CHUNK_VALUES, CHUNK_PIXELS = 4096, 2**25, 2**22  # rows, and numbers of them, that are measured at a time
MOST_VALUES = 2**29  # beyond it, evenly spaced rows are measured: 3500 images of 224² in three channels
KEPT = 128  # measured means and deviations: a study needs one for each fold
_MEASURED: dict[tuple[str, bytes], tuple[np.ndarray, np.ndarray]] = {}


@dataclass(frozen=True)
class Standardizer:
    """``(x − mean) / deviation``, measured on training samples: for each channel of images, each column of features.

    With the dataset's ``feature_scale: whole`` one deviation divides all columns, the root of their mean variance: the
    angles between embeddings that somebody else's network made stay as they are about their mean.
    """

    mean: Tensor
    inverse: Tensor

    @classmethod
    def measure(cls, dataset: Dataset, rows: np.ndarray, device: str) -> Standardizer:
        """Measure on ``rows`` (2²⁹ numbers of them at most); a constant channel or column stays at 0.

        What was measured last is kept.
        """
        key = (dataset.fingerprint, hashlib.sha256(np.ascontiguousarray(rows).tobytes()).digest())
        if key not in _MEASURED:
            while len(_MEASURED) >= KEPT:
                _MEASURED.pop(next(iter(_MEASURED)))
            _MEASURED[key] = cls._statistics(dataset, rows)
        mean, deviation = _MEASURED[key]
        if dataset.feature_scale == "whole" and not dataset.is_images:
            deviation = np.full_like(deviation, np.sqrt((deviation**2).mean()))
        constant = deviation <= 1e-6 * np.maximum(1, np.abs(mean))
        arrays = mean, 1 / np.where(constant, 1.0, deviation)
        return cls(*(torch.as_tensor(array, dtype=torch.float32, device=device) for array in arrays))

    @staticmethod
    def _statistics(dataset: Dataset, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        axes = (0, 2, 3) if dataset.is_images else (0,)
        size = int(np.prod(dataset.sample_shape))
        if len(rows) * size > MOST_VALUES:
            rows = rows[np.linspace(0, len(rows) - 1, max(MOST_VALUES // size, 1)).astype(int)]
        step = min(CHUNK, max((CHUNK_PIXELS if dataset.is_images else CHUNK_VALUES) // size, 1))
        total, squares, count = 0.0, 0.0, 0
        for start in range(0, len(rows), step):
            chunk = dataset.samples[rows[start : start + step]].astype(np.float64)
            total, squares = total + chunk.sum(axes, keepdims=True), squares + (chunk**2).sum(axes, keepdims=True)
            count += chunk.size // total.size
        mean = total / count
        return np.asarray(mean), np.sqrt(np.maximum(squares / count - mean**2, 0))

    @classmethod
    def of(cls, encoder: nn.Module, dataset: Dataset, rows: np.ndarray, device: str) -> Standardizer:
        """Return what an encoder's input passes through: the statistics it was pretrained with, else the data's own.

        Raises:
            InvalidValueError: the statistics are of images with another number of channels.
        """
        check_statistics(encoder, dataset)
        statistics = getattr(encoder, "statistics", None)
        if statistics is None:
            return cls.measure(dataset, rows, device)
        width = (1, -1, 1, 1) if dataset.is_images else (1, -1)
        mean, std = (torch.tensor(values, dtype=torch.float32, device=device).reshape(width) for values in statistics)
        return cls(mean, 1 / std)

    def __call__(self, samples: Tensor) -> Tensor:
        return (samples.float() - self.mean) * self.inverse


def check_statistics(encoder: nn.Module, dataset: Dataset) -> None:
    """Check that what an encoder's input is normalised by has a number for each channel or column, or one for all.

    Raises:
        InvalidValueError: it has another number of them.
    """
    statistics = getattr(encoder, "statistics", None)
    if statistics is not None and len(statistics[0]) not in (1, dataset.sample_shape[0]):
        value = f"{len(statistics[0])} for {dataset.sample_shape[0]}"
        cure = "give `channels` of the dataset, or `input_mean` and `input_std` for its channels"
        raise InvalidValueError("the weights must be of images with as many channels", value=value, cure=cure)


@dataclass(frozen=True)
class Stage:
    """One loss, trained for ``steps`` steps from ``first`` on."""

    first: int
    steps: int
    loss: Loss


@dataclass(frozen=True)
class Prepared:
    """A job ready to train: ``rows (N,)`` of the dataset and their ``labels (N,)``, counted from 0.

    ``levels (N, L)`` are the labels and the coarser groups that their classes lie in, where the dataset has some, and
    ``teachers`` those of the data.
    """

    config: TrainingConfig
    encoder: nn.Module
    standardize: Standardizer
    stages: tuple[Stage, ...]
    rows: Tensor
    labels: Tensor
    levels: Tensor | None = None
    teachers: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)

    def labels_for(self, loss: Loss) -> Tensor:
        """Return what a loss is told of the samples: levels ``(N, L)`` where it takes them, else labels ``(N,)``."""
        return self.labels if self.levels is None or loss.label_form != LEVELS else self.levels

    @property
    def class_counts(self) -> Tensor:
        """Training samples of each class ``(C,)``, as training is told them."""
        return torch.bincount(self.labels)


def build_encoder(job: TrainingJob, dataset: Dataset) -> nn.Module:
    """Return the job's encoder with its first weights."""
    encoder = create_encoder(
        job.encoder.name,
        input_shape=dataset.sample_shape,
        embedding_dim=job.encoder.embedding_dim,
        seed=derive_seed("encoder", job.random_state),
        **job.encoder.options,
    )
    load_weights(encoder, job.encoder.weights, job.encoder.statistics)
    freeze(encoder, job.encoder.freeze)
    encoder = encoder.to(job.device)
    if dataset.is_images:
        encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks the keyword
    return encoder


def prepare(job: TrainingJob, data: TrainingData) -> Prepared:
    """Build everything that a job's training starts from."""
    dataset, fold = data.dataset, data.splits.folds[job.fold]
    rows = fold.train
    classes, targets = np.unique(fold.labels(dataset.labels), return_inverse=True)
    assert job.loss is not None  # a baseline is not trained
    own = {**job.loss.hyperparameters, **job.loss.options}
    tuned = of_training(job.hyperparameters, own)
    config = with_searched(job.training, tuned, len(classes)).resolved
    losses = job.loss.build(
        {key: value for key, value in job.hyperparameters.items() if key not in {*tuned, EMBEDDING_DIM}},
        num_classes=len(classes),
        embedding_dim=job.encoder.embedding_dim,
        class_counts=np.bincount(targets),
        generator=torch.Generator().manual_seed(derive_seed("loss", job.random_state)),
    )
    stages, first = [], 0
    for later, (share, loss) in zip(range(len(losses) - 1, -1, -1), losses):
        most = config.steps - first - later  # later stages have a step each; with too few, early ones are left out
        steps = min(max(round(config.steps * share), 1), most) if later else most
        if steps > 0:
            make_room(loss, data.teachers, config.classes_per_batch * config.samples_per_class)
            stages.append(Stage(first, steps, loss.to(job.device)))
            first += steps
    encoder = build_encoder(job, dataset)
    return Prepared(
        config,
        encoder,
        Standardizer.of(encoder, dataset, rows, job.device),
        tuple(stages),
        torch.as_tensor(rows, device=job.device),
        torch.as_tensor(targets, device=job.device),
        _levels(dataset, classes, targets, job.device),
        data.teachers,
    )


def _levels(dataset: Dataset, classes: np.ndarray, targets: np.ndarray, device: str) -> Tensor | None:
    if not dataset.levels:
        return None
    groups = [group_codes(dataset.levels, name)[classes][targets] for name in dataset.levels]
    return torch.as_tensor(np.stack([targets, *groups], axis=1), device=device)


def stage_batches(job: TrainingJob, prepared: Prepared, stage: Stage) -> Tensor:
    """Draw the stage's batches ``(steps, B)``: positions in ``prepared.rows``."""
    return SAMPLERS[prepared.config.sampler](
        prepared.labels,
        classes_per_batch=prepared.config.classes_per_batch,
        samples_per_class=prepared.config.samples_per_class,
        steps=stage.steps,
        generator=torch.Generator(job.device).manual_seed(derive_seed("batches", job.random_state, stage.first)),
    )


def encoder_precision(config: TrainingConfig, device: str) -> torch.autocast:
    """Return the context in which an encoder runs in training: autocast to half precision where the training says."""
    half = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(config.precision)
    kind = torch.device(device).type  # autocast's cache would outlive a vmap
    return torch.autocast(kind, half or torch.bfloat16, enabled=half is not None, cache_enabled=False)


def random_streams(job: TrainingJob, stage: Stage) -> tuple[torch.Generator, torch.Generator]:
    """Return the generators of augmentation and of sampling noise."""
    return stream(job, stage, "augment"), stream(job, stage, "noise")


def stream(job: TrainingJob, stage: Stage, of: str) -> torch.Generator:
    """Return a stage's generator of ``of``."""
    return torch.Generator(job.device).manual_seed(derive_seed(of, job.random_state, stage.first))


@contextmanager
def own_random_numbers(job: TrainingJob) -> Iterator[None]:
    """Have what draws from torch's own random streams (dropout, say) draw by the job's seed; give them back after."""
    seed, cuda = derive_seed("torch", job.random_state), job.device.startswith("cuda")
    with torch.random.fork_rng(devices=[torch.device(job.device)] if cuda else []):
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(job.device):
                torch.cuda.manual_seed(seed)
        yield
