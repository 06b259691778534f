"""Corrupted training data reaches both engines, the standardisation and the baselines, and no score."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mlcompare.data import corrupt_splits
from mlcompare.training import run_baseline, train
from mlcompare.training.population import train_population
from mlcompare.training.prepare import prepare


@pytest.fixture(scope="module")
def worse(data):
    splits = corrupt_splits(data.splits, data.dataset.labels, label_noise=0.3, imbalance=3)
    return replace(data, splits=splits)


def test_labels_rows_and_standardisation_are_the_corrupted_ones(data, worse, make_job) -> None:
    job, fold = make_job(), worse.splits.folds[0]
    clean, prepared = prepare(job, data), prepare(job, worse)
    assert prepared.rows.tolist() == fold.train.tolist()
    classes = np.unique(data.dataset.labels[data.splits.folds[0].train])
    assert classes[prepared.labels.numpy()].tolist() == fold.train_labels.tolist()
    assert prepared.class_counts.tolist() == np.bincount(prepared.labels).tolist()
    assert prepared.class_counts.sum() < clean.class_counts.sum()
    assert not prepared.standardize.mean.equal(clean.standardize.mean)
    weights = [dict(p.stages[0].loss.named_parameters())["class_weights"] for p in (clean, prepared)]
    assert weights[0].equal(weights[1]), "heads keep their shape and first weights"


def test_both_engines_train_on_it(data, worse, make_job) -> None:
    jobs = [make_job(seed=seed, training={"steps": 4}) for seed in range(2)]
    for job, result in zip(jobs, train_population(jobs, worse)):
        alone = train(job, worse)
        assert result.history["loss"] == pytest.approx(alone.history["loss"], rel=2e-3)
        assert alone.history["loss"] != train(job, data).history["loss"]


def test_validation_and_sealed_samples_are_scored_as_they_are(data, worse, make_job) -> None:
    for split in ("validation", "test"):
        clean, result = (train(make_job(split=split, keep=True), d).artifacts for d in (data, worse))
        assert np.array_equal(clean["rows"], result["rows"])
        assert np.array_equal(clean["labels"], result["labels"])
    assert result["class_counts"].sum() == len(worse.splits.folds[0].train)


@pytest.mark.parametrize(("name", "same"), [("raw_pixels", True), ("pca", False)])
def test_baselines_start_from_the_same_training_samples(data, worse, make_job, name: str, same: bool) -> None:
    job = replace(make_job(split="test"), kind="baseline", baseline=name, loss=None)
    clean, result = run_baseline(job, data).metrics, run_baseline(job, worse).metrics
    assert (clean == result) is same
