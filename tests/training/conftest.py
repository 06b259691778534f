"""A data set small enough to train on in milliseconds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mlcompare.data import Dataset, draw_splits
from mlcompare.losses.compose import LossEntry, Term
from mlcompare.training import EncoderConfig, TrainingConfig, TrainingData, TrainingJob


@pytest.fixture(scope="session")
def data() -> TrainingData:
    """Twelve Gaussian classes of six samples in ten dimensions."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(12), 6)
    samples = rng.normal(size=(12, 10))[labels] + 0.7 * rng.normal(size=(72, 10))
    dataset = Dataset("blobs", samples.astype(np.float32), labels, tuple("abcdefghijkl"))
    return TrainingData(dataset, draw_splits(labels, test_classes=0.34, folds=2))


@pytest.fixture(scope="session")
def images() -> TrainingData:
    """Twelve patterns of 8 × 8 pixels, six noisy copies of each."""
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(12), 6)
    patterns = rng.integers(0, 200, size=(12, 1, 8, 8))
    samples = (patterns[labels] + rng.integers(0, 56, size=(72, 1, 8, 8))).astype(np.uint8)
    dataset = Dataset("patterns", samples, labels, tuple("abcdefghijkl"))
    return TrainingData(dataset, draw_splits(labels, test_classes=0.34, folds=2))


@pytest.fixture
def make_job():
    """Return a function that makes a job; keyword arguments replace its parts."""

    def make(loss: str = "cosface", terms=None, kind: str = "single", values=None, **changes) -> TrainingJob:
        entry = LossEntry(loss, kind, tuple(Term(name) for name in (terms or [loss])))
        config = {"steps": 12, "classes_per_batch": 3, "samples_per_class": 3, "lr": 0.01}
        training = TrainingConfig(**{**config, **changes.pop("training", {})})
        encoder = EncoderConfig("linear", 4)
        job = {"kind": "trial", "fold": 0, "trial": 0, "random_state": changes.pop("seed", 7), **changes}
        return TrainingJob(loss=entry, hyperparameters=values or {}, encoder=encoder, training=training, **job)

    return make


@pytest.fixture
def make_members(make_job):
    """Return a function that makes three short jobs of an entry with these values, each with a rate of its own."""

    def make(entry: LossEntry, values: dict) -> list[TrainingJob]:
        made = [make_job(seed=seed, fold=seed % 2, training={"steps": 6}, keep=True) for seed in range(3)]
        rates = (0.003, 0.01, 0.03)
        return [replace(job, loss=entry, hyperparameters={"lr": lr, **values}) for job, lr in zip(made, rates)]

    return make
