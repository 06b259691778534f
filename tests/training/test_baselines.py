"""Baselines: every one is scored, and each against the library that defines it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.feature import hog, local_binary_pattern
from sklearn.decomposition import PCA
from sklearn.svm import LinearSVC

from mlcompare.data import Dataset, draw_splits
from mlcompare.training import BASELINES, EncoderConfig, TrainingData, baselines, baselines_of, run_baseline, scoring
from mlcompare.training.baselines import _some
from mlcompare.training.descriptors import local_binary_patterns


@pytest.fixture(scope="module")
def images() -> TrainingData:
    rng = np.random.default_rng(2)
    labels = np.repeat(np.arange(10), 8)
    patterns = rng.integers(0, 160, size=(10, 1, 16, 12))
    samples = (patterns[labels] + rng.integers(0, 90, size=(80, 1, 16, 12))).astype(np.uint8)
    dataset = Dataset("patterns", samples, labels, tuple("abcdefghij"))
    return TrainingData(dataset, draw_splits(labels, test_classes=0.4, folds=2))


def baseline(make_job, name: str, **changes):
    job = make_job(split="test", **changes)
    return replace(job, kind="baseline", baseline=name, loss=None, encoder=EncoderConfig("conv", 4))


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_scores_the_sealed_classes(images, make_job, name: str) -> None:
    result = run_baseline(baseline(make_job, name), images)
    assert 0.05 < result.metrics["map_at_r"] <= 1
    assert len(result.per_class["map_at_r"]) == len(np.unique(images.dataset.labels[images.splits.test]))
    assert run_baseline(baseline(make_job, name), images).metrics == result.metrics


@pytest.mark.parametrize("name", BASELINES)
def test_they_tell_known_classes_apart(images, make_job, name: str) -> None:
    closed = TrainingData(
        images.dataset, draw_splits(images.dataset.labels, kind="closed_set", test_share=0.3, folds=2)
    )
    result = run_baseline(baseline(make_job, name, metrics=("accuracy",)), closed)
    assert result.metrics["accuracy"] > 0.2
    assert set(result.per_class["accuracy"]) == set("abcdefghij")


def test_tables_of_features_have_no_descriptors(data, make_job) -> None:
    names = baselines_of(data.dataset)
    assert set(BASELINES) - set(names) == {"hog", "lbp"}
    job = replace(baseline(make_job, "linear_svm"), encoder=EncoderConfig("linear", 4))
    assert 0 < run_baseline(job, data).metrics["map_at_r"] <= 1
    many = Dataset("many", np.zeros((2, 3), np.float32), np.arange(2), tuple(map(str, range(1001))))
    assert "linear_svm" not in baselines_of(many)
    small = Dataset("small", np.zeros((2, 1, 3, 9), np.uint8), np.arange(2), ("a", "b"))
    assert "hog" not in baselines_of(small)


def test_the_svm_is_one_on_hog_of_the_training_classes(images, make_job) -> None:
    job = baseline(make_job, "linear_svm")
    train, test = images.splits.folds[0].train, images.splits.test
    cells = {"pixels_per_cell": (2, 2), "cells_per_block": (2, 2), "block_norm": "L2-Hys"}
    described = np.stack([hog(image[0].astype(float), **cells) for image in images.dataset.samples])
    svm = LinearSVC(dual="auto", tol=1e-6, max_iter=100_000).fit(described[train], images.dataset.labels[train])
    found = BASELINES["linear_svm"](job, images)(test).numpy()
    assert found.shape == (len(test), len(np.unique(images.dataset.labels[train])))
    np.testing.assert_allclose(found, svm.decision_function(described[test]), atol=5e-3)


def test_a_large_svm_learns_from_as_many_principal_components_as_it_can_afford(images, make_job, monkeypatch) -> None:
    job, test = baseline(make_job, "linear_svm"), images.splits.test
    train = images.splits.folds[0].train
    whole = BASELINES["linear_svm"](job, images)(test).numpy()
    terms = len(train) * len(np.unique(images.dataset.labels[train]))
    sizes = []
    axes = baselines._axes
    monkeypatch.setattr(baselines, "_axes", lambda rows, n, seed: sizes.append(n) or axes(rows, n, seed))
    monkeypatch.setattr(baselines, "MOST_WORK", 12 * terms)
    monkeypatch.setattr(baselines, "FEWEST_AXES", 3)
    few = BASELINES["linear_svm"](job, images)(test).numpy()
    monkeypatch.setattr(baselines, "MOST_WORK", 1)
    fewest = BASELINES["linear_svm"](job, images)(test).numpy()
    assert sizes == [12, 3]
    alike = [np.corrcoef(whole.ravel(), found.ravel())[0, 1] for found in (few, fewest)]
    assert 0.5 < alike[1] < alike[0] < 1


def test_principal_components_are_scikit_learns(images, make_job) -> None:
    train, test = images.splits.folds[0].train, images.splits.test
    flat = images.dataset.samples.reshape(80, -1).astype(np.float64)
    found = BASELINES["pca"](baseline(make_job, "pca"), images)(test).numpy()
    expected = PCA(4).fit(flat[train]).transform(flat[test])
    assert found.shape == expected.shape
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, rtol=1e-3, atol=2)  # whatever their signs


def test_local_binary_patterns_are_scikit_images_in_cells() -> None:
    images = np.random.default_rng(0).integers(0, 256, size=(3, 1, 8, 12)).astype(np.uint8)
    expected = []
    for image in images[:, 0]:
        codes = local_binary_pattern(image, 8, 1, "nri_uniform")
        parts = [codes[:4, :6], codes[:4, 6:], codes[4:, :6], codes[4:, 6:]]
        expected.append(np.concatenate([np.histogram(part, 59, (0, 59))[0] / part.size for part in parts]))
    np.testing.assert_allclose(local_binary_patterns(images) ** 2, expected, atol=1e-6)
    colours = np.repeat(images, 3, axis=1)
    assert np.array_equal(local_binary_patterns(colours), local_binary_patterns(images))


def test_large_folds_are_cut_class_by_class(monkeypatch) -> None:
    monkeypatch.setattr("mlcompare.training.baselines.MOST_ROWS", 12)
    labels = np.repeat([3, 5, 9], [20, 2, 8])
    rows, kept = _some(np.arange(100, 130), labels, np.random.default_rng(0))
    assert np.bincount(kept).tolist() == [0, 0, 0, 4, 0, 2, 0, 0, 0, 4]
    assert np.array_equal(labels[rows - 100], kept)
    assert len(set(rows)) == len(rows)


def test_large_decompositions_are_randomised_and_keep_the_variance(images, make_job, monkeypatch) -> None:
    train, job = images.splits.folds[0].train, baseline(make_job, "pca")
    exact = BASELINES["pca"](job, images)(train)
    monkeypatch.setattr("mlcompare.training.baselines.EXACT_PRODUCTS", 1)
    found, again = (BASELINES["pca"](job, images)(train) for _ in range(2))
    assert torch.equal(found, again)
    assert found.shape == exact.shape
    assert not torch.equal(found, exact)
    assert 0.95 < float(found.square().sum() / exact.square().sum()) <= 1.0001


def test_descriptors_too_wide_to_compare_are_reduced(images, make_job, monkeypatch) -> None:
    def scored(name: str) -> tuple[dict, int]:
        known: dict = {}
        metrics = run_baseline(baseline(make_job, name), images, known).metrics
        ((_, embeddings, _),) = known.values()
        return metrics, embeddings.shape[1]

    whole, svm = scored("lbp"), scored("linear_svm")
    monkeypatch.setattr("mlcompare.training.baselines.MOST_PRODUCTS", 1)
    assert scored("lbp") == whole, "too few training samples to find 512 axes"
    monkeypatch.setattr("mlcompare.training.baselines.NARROW", 12)
    narrow = scored("lbp")
    assert narrow[1] == 12 < whole[1]
    assert narrow[0]["map_at_r"] > 0.1
    monkeypatch.setattr("mlcompare.training.baselines.NARROW", 2)
    assert scored("linear_svm") == svm, "decisions are left as they are"


def test_descriptors_are_scored_once_for_all_folds(images, make_job, monkeypatch) -> None:
    closed = TrainingData(
        images.dataset, draw_splits(images.dataset.labels, kind="closed_set", test_share=0.3, folds=2)
    )
    metrics = ("accuracy", "map_at_r")
    jobs = [replace(baseline(make_job, "hog", metrics=metrics), fold=fold) for fold in (0, 1)]
    apart = [run_baseline(job, closed) for job in jobs]
    ranked = []
    real = baselines.evaluate
    monkeypatch.setattr(baselines, "evaluate", lambda *given: ranked.append(1) or real(*given))
    known: dict = {}
    together = [run_baseline(job, closed, known) for job in jobs]
    assert [result.metrics for result in together] == [result.metrics for result in apart]
    assert len(ranked) == 1


class Counted(np.ndarray):
    """Samples that count how many of them are read at a time."""

    most = 0

    def __getitem__(self, rows):
        if isinstance(rows, np.ndarray):
            Counted.most = max(Counted.most, len(rows))
        return np.asarray(self).__getitem__(rows)


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("wide", [False, True])
def test_only_some_samples_are_read_at_a_time(images, make_job, monkeypatch, name: str, wide: bool) -> None:
    job = baseline(make_job, name, metrics=("map_at_r", "accuracy"))
    monkeypatch.setattr(baselines, "MOST_ROWS", 16)
    if wide:  # too wide to compare: reduced first
        monkeypatch.setattr(baselines, "NARROW", 4)
        monkeypatch.setattr(baselines, "MOST_PRODUCTS", 1)
    closed = TrainingData(
        images.dataset, draw_splits(images.dataset.labels, kind="closed_set", test_share=0.5, folds=2)
    )
    whole = run_baseline(job, closed).metrics
    monkeypatch.setattr(baselines, "CHUNK", 5)
    monkeypatch.setattr(scoring, "IMAGES_ON_CPU", 5)
    Counted.most = 0
    counted = replace(closed, dataset=replace(closed.dataset, samples=closed.dataset.samples.view(Counted)))
    assert run_baseline(job, counted).metrics == pytest.approx(whole)
    assert 0 < Counted.most <= 16 < len(closed.splits.test)
