"""The bounded part of validation: bounded, of whole classes, the same each time, and nothing else moves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcompare.data import bound_validation, corrupt_splits, draw_splits, sample_hash
from mlcompare.errors import InvalidValueError
from mlcompare.grouped import rows_by_class

LABELS = np.repeat(np.arange(200), np.random.default_rng(0).integers(4, 16, 200))


def test_small_folds_are_left_alone() -> None:
    splits = draw_splits(LABELS, folds=2)
    bounded = bound_validation(splits, LABELS, most=5000)
    assert all(a is b for a, b in zip(bounded.folds, splits.folds))
    assert sample_hash(bounded) is None


def test_whole_classes_up_to_the_bound() -> None:
    splits = draw_splits(LABELS, folds=2)
    bounded = bound_validation(splits, LABELS, most=300)
    assert bounded.hash == splits.hash
    assert np.array_equal(bounded.test, splits.test)
    for fold, before in zip(bounded.folds, splits.folds):
        assert np.array_equal(fold.train, before.train)
        assert np.array_equal(fold.validation, before.validation)
        assert fold.scored is fold.sample
        assert 280 < len(fold.sample) <= 300
        assert np.isin(fold.sample, fold.validation).all()
        assert np.array_equal(fold.sample, np.flatnonzero(np.isin(LABELS, LABELS[fold.sample]))), "whole classes"
        assert set(LABELS[fold.train[fold.means]]) == set(LABELS[fold.train]), "each class has a mean"


def test_every_class_of_a_closed_set_is_seen() -> None:
    labels = np.repeat(np.arange(10), 300)
    splits = bound_validation(draw_splits(labels, kind="closed_set", folds=2), labels, most=100)
    for fold in splits.folds:
        assert np.bincount(labels[fold.sample]).tolist() == [10] * 10
        assert np.bincount(labels[fold.train[fold.means]]).tolist() == [10] * 10


def test_large_classes_give_equally_many_samples() -> None:
    labels = np.repeat(np.arange(12), 500)
    splits = bound_validation(draw_splits(labels, folds=2), labels, most=600)
    for fold in splits.folds:
        assert sorted(np.unique(labels[fold.sample], return_counts=True)[1]) == [200] * 3


def test_the_draw_depends_on_seed_and_fold() -> None:
    splits = draw_splits(LABELS, folds=2)
    first, again, other = (bound_validation(splits, LABELS, most=300, seed=seed) for seed in (0, 0, 1))
    assert sample_hash(first) == sample_hash(again) != sample_hash(other)
    same = replace(splits, folds=(splits.folds[0], splits.folds[0]))
    one, two = bound_validation(same, LABELS, most=300).folds
    assert not np.array_equal(one.sample, two.sample)


def test_means_follow_what_corruption_left() -> None:
    splits = corrupt_splits(draw_splits(LABELS, folds=2), LABELS, label_noise=0.3, imbalance=3)
    for fold in bound_validation(splits, LABELS, most=200).folds:
        assert fold.means.max() < len(fold.train)
        assert set(fold.labels(LABELS)[fold.means]) == set(fold.labels(LABELS))


def test_a_bound_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="validation_samples >= 2"):
        bound_validation(draw_splits(LABELS, folds=2), LABELS, most=1)


def test_curves_are_measured_on_a_part_of_what_is_scored() -> None:
    labels = np.repeat(np.arange(400), 20)
    splits = draw_splits(labels, folds=2)
    for most in (5000, 1500, 800):
        bounded = bound_validation(splits, labels, most=most)
        for fold in bounded.folds:
            assert len(fold.scored) == most // 20 * 20 or most == 5000
            assert len(fold.along) == min(1000, len(fold.scored))
            assert np.isin(fold.along, fold.scored).all()
            assert set(np.unique(labels[fold.along], return_counts=True)[1]) == {20}, "whole classes"


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=40))
def test_rows_are_grouped_as_looking_for_each_class_does(classes: list[int]) -> None:
    codes = np.array(classes)
    groups = rows_by_class(codes)
    assert len(groups) == codes.max() + 1
    for code, rows in enumerate(groups):
        assert rows.tolist() == np.flatnonzero(codes == code).tolist()
