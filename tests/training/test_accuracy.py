"""Accuracy of closed-set trainings: of the loss's logits, or of class means."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mlcompare.data import draw_splits
from mlcompare.encoders import create_encoder
from mlcompare.registry import create_loss, list_losses
from mlcompare.training import TrainingData, run_baseline, train
from mlcompare.training.loop import score_encoder
from mlcompare.training.population import train_population
from mlcompare.training.prepare import prepare
from mlcompare.training.scoring import class_scores, embed

METRICS = ("accuracy", "recall_at_1")
HEADS = [s.name for s in list_losses(provider="native") if not s.term and hasattr(s.create(
    **{"num_classes": 3, "embedding_dim": 4}), "logits")]  # fmt: skip


@pytest.fixture(scope="module")
def closed(data) -> TrainingData:
    return TrainingData(data.dataset, draw_splits(data.dataset.labels, kind="closed_set", test_share=0.4, folds=2))


@pytest.mark.parametrize("loss", ["softmax", "cosface", "center", "triplet", "pml/TripletMarginLoss"])
def test_a_training_is_scored_by_accuracy_by_class_too(closed, make_job, loss: str) -> None:
    job = make_job(loss, metrics=METRICS, split="test", training={"steps": 200, "lr": 0.05}, keep=True)
    result = train(job, closed)
    assert result.status == "ok", result.reason
    assert list(result.metrics) == list(METRICS)
    assert result.metrics["accuracy"] > 0.3
    by_class = result.per_class["accuracy"]
    counts = np.bincount(result.artifacts["labels"])
    names = closed.dataset.class_names
    assert set(by_class) == set(names)
    mean = np.average([by_class[name] for name in names], weights=counts)
    assert mean == pytest.approx(result.metrics["accuracy"])


def test_metric_losses_predict_the_nearest_class_mean(closed, make_job) -> None:
    job = make_job("triplet", metrics=METRICS, split="test", keep=True)
    result = train(job, closed)
    encoder = create_encoder("linear", input_shape=(10,), embedding_dim=4)
    encoder.load_state_dict({k: torch.as_tensor(v) for k, v in result.artifacts["weights"].items()})
    train_rows = closed.splits.folds[0].train
    standardize = prepare(job, closed).standardize
    unit = torch.nn.functional.normalize(embed(encoder, standardize, closed.dataset.samples[train_rows])).numpy()
    labels = closed.dataset.labels
    means = [unit[labels[train_rows] == c].mean(0) for c in range(12)]
    cosines = result.artifacts["embeddings"] @ np.stack([m / np.linalg.norm(m) for m in means]).T
    assert result.metrics["accuracy"] == pytest.approx((cosines.argmax(1) == result.artifacts["labels"]).mean())


@pytest.mark.parametrize("loss", HEADS)
def test_every_loss_with_class_weights_gives_logits(loss: str) -> None:
    module = create_loss(loss, num_classes=3, embedding_dim=4)
    scores = class_scores(None, None, module, torch.randn(5, 4, generator=torch.Generator().manual_seed(0)), None)
    assert scores.shape == (5, 3)
    assert torch.isfinite(scores).all()


def test_logits_are_those_of_the_trained_loss(closed, make_job) -> None:
    job = make_job("softmax", metrics=METRICS, split="test", training={"steps": 200, "lr": 0.05})
    prepared = prepare(job, closed)
    untrained = train(replace(job, training=job.training.replaced(lr=1e-12)), closed)
    score_encoder(job, closed, prepared, prepared.encoder, result := train(job, closed))
    assert result.metrics == untrained.metrics, "an encoder and a head that were never trained"
    assert train(job, closed).metrics["accuracy"] > result.metrics["accuracy"]


@pytest.mark.parametrize("loss", ["softmax", "deepvisage", "triplet"])
def test_a_population_has_the_accuracies_of_its_members(closed, make_job, loss: str) -> None:
    jobs = [make_job(loss, metrics=METRICS, seed=s, values={"lr": lr}) for s, lr in enumerate((0.003, 0.03, 0.1))]
    together = [result.metrics["accuracy"] for result in train_population(jobs, closed)]
    alone = [train(job, closed).metrics["accuracy"] for job in jobs]
    assert together == pytest.approx(alone, abs=0.06)
    assert len(set(alone)) > 1


def test_the_last_stage_predicts(closed, make_job) -> None:
    job = make_job("both", ["triplet", "softmax"], "stages", metrics=METRICS, training={"steps": 200, "lr": 0.05})
    assert train(job, closed).metrics["accuracy"] > 0.3


@pytest.mark.parametrize("name", ["raw_pixels", "pca", "untrained_encoder", "linear_svm"])
def test_baselines_predict_class_means_of_their_fold(closed, make_job, name: str) -> None:
    job = replace(make_job(metrics=METRICS, split="test"), kind="baseline", baseline=name, loss=None)
    scores = [run_baseline(replace(job, fold=fold), closed) for fold in (0, 1)]
    assert all(score.metrics["accuracy"] > 0.3 for score in scores)
    assert set(scores[0].per_class["accuracy"]) == set(closed.dataset.class_names)
