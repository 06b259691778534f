"""Splits: sealed classes stay sealed, folds are disjoint, the same seed draws the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcompare.data import draw_splits
from mlcompare.errors import DataError, InvalidValueError


def labels_of(classes: int, each: int) -> np.ndarray:
    return np.repeat(np.arange(classes), each)


@settings(max_examples=30, deadline=None)
@given(st.integers(8, 40), st.integers(2, 5), st.integers(2, 4), st.integers(0, 1000))
def test_classes_never_cross(classes: int, each: int, folds: int, seed: int) -> None:
    labels = labels_of(classes, each)
    rest = classes - round(classes * 0.4)
    if rest // folds < 2:
        return
    splits = draw_splits(labels, test_classes=0.4, folds=folds, seed=seed)
    sealed = set(labels[splits.test])
    for fold in splits.folds:
        train, validation = set(labels[fold.train]), set(labels[fold.validation])
        assert not sealed & train
        assert not sealed & validation
        assert not train & validation
        assert len(validation) == rest // folds, "equally many validation classes"
        assert len(train) == rest - rest // folds, "a remainder always trains"
    assert len({tuple(fold.validation) for fold in splits.folds}) == folds
    assert len(splits.test) + len(splits.development) == len(labels)


def test_seed_decides() -> None:
    labels = labels_of(20, 4)
    assert draw_splits(labels, seed=3).hash == draw_splits(labels, seed=3).hash
    assert draw_splits(labels, seed=3).hash != draw_splits(labels, seed=4).hash


def test_closed_set_keeps_every_class_everywhere() -> None:
    labels = labels_of(5, 20)
    splits = draw_splits(labels, kind="closed_set", test_share=0.25, folds=3)
    for rows in [splits.test, *(part for fold in splits.folds for part in (fold.train, fold.validation))]:
        assert set(labels[rows]) == set(range(5))
    validations = np.concatenate([fold.validation for fold in splits.folds])
    assert sorted([*validations, *splits.test]) == list(range(100)), "each row is sealed or validates once"


def test_closed_set_takes_the_official_test_split() -> None:
    labels = labels_of(3, 10)
    official = np.where(np.arange(30) % 5 == 0, "test", "train")
    splits = draw_splits(labels, kind="closed_set", folds=2, official=official)
    assert splits.test.tolist() == list(range(0, 30, 5))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"kind": "open"}, InvalidValueError),
        ({"folds": 1}, InvalidValueError),
        ({"test_classes": 1.0}, InvalidValueError),
        ({"folds": 8}, DataError),
        ({"test_classes": 0.9}, DataError),
        ({"kind": "closed_set", "folds": 30}, DataError),
    ],
)
def test_bad_protocols_are_refused(arguments: dict, error: type) -> None:
    with pytest.raises(error, match="got"):
        draw_splits(labels_of(10, 6), **arguments)


def test_classes_are_called_by_their_names() -> None:
    labels, names = np.array([0] * 6 + [1] * 6 + [2] * 2), ("ant", "bee", "größe")
    with pytest.raises(DataError, match="class 'größe': 1 samples for 3 folds"):
        draw_splits(labels, kind="closed_set", folds=3, names=names)
    official = np.array(["train", "test"] * 7)
    with pytest.raises(DataError, match=r"3 of 3 classes in both parts: 'ant', 'bee', 'größe'"):
        draw_splits(labels, test_classes="official", official=official, names=names)


def test_an_official_validation_part_is_no_test_part() -> None:
    official = np.array(["train"] * 8 + ["validation"] * 8)
    with pytest.raises(DataError, match="write test where the split says validation"):
        draw_splits(np.repeat(np.arange(4), 4), test_classes="official", official=official)
