"""Accuracy from logits, by class, and by the nearest class mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, recall_score
from sklearn.neighbors import NearestCentroid

from mlcompare.errors import InvalidValueError
from mlcompare.evaluation import class_mean_scores, closed_set_accuracy, per_class_accuracy


def test_accuracy_and_recalls_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(60, 4)), rng.integers(0, 4, 60)
    predicted = logits.argmax(1)
    assert closed_set_accuracy(logits, labels) == pytest.approx(accuracy_score(labels, predicted))
    recalls = recall_score(labels, predicted, average=None)
    assert per_class_accuracy(logits, labels) == pytest.approx(dict(enumerate(recalls)))


def test_class_means_predict_as_nearest_centroids_of_unit_vectors() -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(3), 20)
    train = rng.normal(size=(60, 5)) + rng.normal(size=(3, 5))[labels]
    test = rng.normal(size=(40, 5))
    unit = train / np.linalg.norm(train, axis=1, keepdims=True)
    centers = np.stack([unit[labels == c].mean(0) for c in range(3)])
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    reference = NearestCentroid().fit(centers, np.arange(3)).predict(test / np.linalg.norm(test, axis=1, keepdims=True))
    scores = class_mean_scores(torch.as_tensor(train), labels, torch.as_tensor(test))
    assert scores.shape == (40, 3)
    assert np.array_equal(scores.argmax(1).numpy(), reference)
    assert class_mean_scores(torch.as_tensor(train), labels, torch.as_tensor(1e-6 * test)).numpy() == pytest.approx(
        scores.numpy()
    ), "the scale of an embedding does not matter"


def test_a_class_without_samples_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="each class must have a training sample"):
        class_mean_scores(torch.eye(2), [0, 2], torch.eye(2))
