"""Rendered characters: distinct classes, distinct images, the same ones every time."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from mlcompare.data import load_dataset
from mlcompare.data.dataset import Dataset
from mlcompare.errors import DataError, InvalidValueError


@pytest.fixture(scope="module")
def characters() -> Dataset:
    pytest.importorskip("matplotlib")
    return load_dataset("glyphs", classes=600)


def test_classes_and_samples(characters: Dataset) -> None:
    counts = np.bincount(characters.labels)
    assert len(characters.class_names) == len(counts) == 600
    assert 8 <= counts.min() <= counts.max() <= 16
    assert characters.samples.shape[1:] == (1, 28, 28)
    assert characters.samples.max((1, 2, 3)).min() >= 32, "every image has ink"
    assert load_dataset("glyphs", classes=600).fingerprint == characters.fingerprint


def test_no_image_occurs_twice(characters: Dataset) -> None:
    assert len({image.tobytes() for image in characters.samples}) == len(characters)


def test_lookalikes_are_one_class(characters: Dataset) -> None:
    (latin,) = [name for name in characters.class_names if "A" in name]
    assert {"A", "Α", "А"} <= set(latin), "Latin, Greek and Cyrillic"
    (comma,) = [name for name in characters.class_names if "," in name]
    assert "'" not in comma, "the height above the baseline tells them apart"


def test_letters_are_told_apart_by_nearest_neighbour(characters: Dataset) -> None:
    flat = characters.samples.reshape(len(characters), -1).astype(np.float32)[::7]
    others = characters.samples.reshape(len(characters), -1).astype(np.float32)
    distances = (others**2).sum(1)[None] - 2 * flat @ others.T  # (N/7, N), up to a constant of the row
    distances[np.arange(len(flat)), np.arange(len(characters))[::7]] = np.inf
    assert (characters.labels[distances.argmin(1)] == characters.labels[::7]).mean() > 0.3


def test_options_are_checked(characters: Dataset) -> None:
    with pytest.raises(InvalidValueError, match="`size` must be a whole number"):
        load_dataset("glyphs", size=3)
    with pytest.raises(InvalidValueError, match="classes=True"):
        load_dataset("glyphs", classes=True)
    with pytest.raises(DataError, match="lower classes"):
        load_dataset("glyphs", classes=90_000, samples=14)


def test_without_matplotlib_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(DataError, match="pip install matplotlib"):
        load_dataset("glyphs")
