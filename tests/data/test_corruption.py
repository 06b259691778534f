"""Corrupted training data: exact shares, long tails, and nothing beyond the training samples touched."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcompare.data import corrupt_splits, draw_splits
from mlcompare.data.corruption import FEWEST, long_tail, wrong_labels
from mlcompare.errors import DataError, InvalidValueError


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(2, 30), min_size=2, max_size=8), st.floats(0, 0.45), st.integers(0, 99))
def test_the_share_is_exact_and_no_class_vanishes(counts: list[int], share: float, seed: int) -> None:
    labels = np.repeat(np.arange(len(counts)) * 3, counts)
    told = wrong_labels(labels, share, np.random.default_rng(seed))
    assert (told != labels).sum() == round(share * len(labels))
    assert set(told) == set(labels)
    assert np.array_equal(told, wrong_labels(labels, share, np.random.default_rng(seed)))


def test_each_other_class_is_as_likely() -> None:
    labels = np.repeat(np.arange(4), 3000)
    told = wrong_labels(labels, 0.5, np.random.default_rng(0))
    table = np.zeros((4, 4))
    np.add.at(table, (labels, told), 1)
    wrong = table[~np.eye(4, dtype=bool)]
    assert np.abs(wrong - 500).max() < 100, "about 5 σ of a binomial with mean 500"


def test_too_many_wrong_labels_are_refused() -> None:
    with pytest.raises(DataError, match="leave each class a sample"):
        wrong_labels(np.repeat([0, 1], 2), 0.9, np.random.default_rng(0))


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 12), st.integers(5, 200), st.floats(1, 300), st.integers(0, 99))
def test_a_long_tail_has_the_stated_sizes(classes: int, each: int, factor: float, seed: int) -> None:
    labels = np.tile(np.arange(classes), each)
    kept = long_tail(labels, factor, np.random.default_rng(seed))
    assert len(np.unique(kept)) == len(kept)
    sizes = np.sort(np.bincount(labels[kept], minlength=classes))[::-1]
    wanted = [max(FEWEST, round(each * factor ** (-rank / (classes - 1)))) for rank in range(classes)]
    assert sizes.tolist() == wanted


def test_a_class_keeps_no_more_than_it_has() -> None:
    labels = np.repeat([0, 1, 2], [100, 1, 30])
    for seed in range(5):
        sizes = np.bincount(labels[long_tail(labels, 2, np.random.default_rng(seed))], minlength=3)
        assert (sizes <= [100, 1, 30]).all()
        assert sizes[1] == 1


@pytest.mark.parametrize("kind", ["class_disjoint", "closed_set"])
def test_only_training_samples_change(kind: str) -> None:
    labels = np.repeat(np.arange(12), 20)
    clean = draw_splits(labels, kind=kind, folds=3)
    worse = corrupt_splits(clean, labels, label_noise=0.2, imbalance=5, seed=1)
    assert np.array_equal(worse.test, clean.test)
    assert worse.hash != clean.hash
    shared = set()
    for before, after in zip(clean.folds, worse.folds):
        assert np.array_equal(before.validation, after.validation)
        assert np.isin(after.train, before.train).all()
        told, true = after.labels(labels), labels[after.train]
        assert (told != true).sum() == round(0.2 * len(true))
        assert set(told) == set(labels[before.train]), "the training classes stay, and no other class appears"
        shared.add(tuple(np.bincount(true, minlength=12)))
    assert len(shared) == 3, "each fold draws its own ranks"


def test_the_hash_tells_draws_apart_and_nothing_changes_nothing() -> None:
    labels = np.repeat(np.arange(12), 20)
    clean = draw_splits(labels, folds=3)
    assert corrupt_splits(clean, labels, seed=5) is clean
    draws = [{"label_noise": 0.2}, {"label_noise": 0.2, "seed": 1}, {"label_noise": 0.3}, {"imbalance": 10}]
    assert len({corrupt_splits(clean, labels, **draw).hash for draw in draws}) == 4
    assert corrupt_splits(clean, labels, **draws[0]).hash == corrupt_splits(clean, labels, **draws[0]).hash
    with pytest.raises(InvalidValueError, match="label_noise < 1"):
        corrupt_splits(clean, labels, label_noise=1)
    with pytest.raises(InvalidValueError, match="imbalance >= 1"):
        corrupt_splits(clean, labels, imbalance=0.5)
