"""Losses that know how many training samples each class has are told, in both engines."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mlcompare.data import Dataset, draw_splits
from mlcompare.training import EncoderConfig, TrainingData
from mlcompare.training.prepare import prepare
from tests.training.test_population import assert_alike, members

COUNTED = ["class_balanced_softmax", "dynamic_arcface", "kappaface", "ldam", "logit_adjusted_softmax"]


@pytest.fixture(scope="module")
def uneven() -> TrainingData:
    """Twelve Gaussian classes of 4 to 48 samples in ten dimensions."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(12), 4 * np.arange(1, 13))
    samples = rng.normal(size=(12, 10))[labels] + 0.7 * rng.normal(size=(len(labels), 10))
    dataset = Dataset("blobs", samples.astype(np.float32), labels, tuple("abcdefghijkl"))
    return TrainingData(dataset, draw_splits(labels, test_classes=0.34, folds=2))


@pytest.mark.parametrize("loss", COUNTED)
@pytest.mark.parametrize("fold", [0, 1])
def test_a_loss_has_the_counts_of_its_fold(uneven, make_job, loss: str, fold: int) -> None:
    prepared = prepare(make_job(loss, fold=fold), uneven)
    counts = prepared.stages[0].loss.counts
    assert torch.equal(counts, prepared.class_counts.float())
    assert len(counts.unique()) > 1


@pytest.mark.parametrize("loss", COUNTED)
def test_members_of_a_population_have_the_counts_of_their_own_folds(uneven, make_job, loss: str) -> None:
    assert_alike(members(make_job, loss, EncoderConfig("linear", 6)), uneven)
