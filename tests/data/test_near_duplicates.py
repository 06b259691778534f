"""Copies that were recompressed, rescaled, brightened or made noisy are found across the seal, and told."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mlcompare.data import Dataset, draw_splits, load_dataset
from mlcompare.data import near_duplicates as module
from mlcompare.data.near_duplicates import near_duplicate_note, near_duplicates, thumbnails


def recompressed(pixels: np.ndarray) -> np.ndarray:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=75)
    return np.asarray(Image.open(out))


COPIES = {
    "recompressed": recompressed,
    "rescaled": lambda p: np.asarray(Image.fromarray(p).resize((69, 84)).resize(p.shape[::-1])),
    "brightened": lambda p: np.clip(0.9 * p + 15, 0, 255).astype(np.uint8),
    "noisy": lambda p: np.clip(p + np.random.default_rng(1).normal(0, 4, p.shape), 0, 255).astype(np.uint8),
    "one pixel": lambda p: np.where(np.arange(p.size).reshape(p.shape) == 0, 255 - p, p).astype(np.uint8),
}


@pytest.fixture(scope="module")
def faces() -> Dataset:
    return load_dataset("orl_faces")


@pytest.mark.parametrize("kind", COPIES)
def test_a_changed_copy_is_found_and_nothing_else(faces: Dataset, kind: str) -> None:
    splits = draw_splits(faces.labels)
    assert near_duplicates(faces, splits.test) == [], "no two people look alike"
    samples, seen, hidden = faces.samples.copy(), int(splits.development[7]), int(splits.test[11])
    samples[hidden, 0] = COPIES[kind](samples[seen, 0])
    changed = replace(faces, samples=samples, fingerprint="")
    assert near_duplicates(changed, splits.test) == [(seen, hidden)]
    told = near_duplicate_note(changed, splits.test)
    assert told.startswith("1 pair of pictures looks nearly alike on both sides of the seal: ")
    assert faces.class_names[faces.labels[seen]] in told


def test_exact_copies_are_another_note_s_and_plain_pictures_nobody_s(faces: Dataset) -> None:
    splits = draw_splits(faces.labels)
    samples = faces.samples.copy()
    samples[splits.test[0]] = samples[splits.development[0]]
    samples[splits.test[1]], samples[splits.development[1]] = 200, 90
    assert near_duplicates(replace(faces, samples=samples, fingerprint=""), splits.test) == []


def test_features_and_sealed_rows_alone_have_none(faces: Dataset) -> None:
    features = Dataset("x", np.zeros((4, 3), np.float32), np.arange(4), tuple("abcd"))
    assert near_duplicates(features, np.array([1])) == []
    assert near_duplicates(faces, np.arange(len(faces))) == []


def test_thumbnails_are_means_over_cells() -> None:
    gray = np.random.default_rng(0).random((2, 32, 48))
    expected = gray.reshape(2, 16, 2, 16, 3).mean(axis=(2, 4)).reshape(2, -1)
    np.testing.assert_allclose(thumbnails(gray), expected)
    small = np.random.default_rng(0).random((1, 8, 8))
    np.testing.assert_allclose(thumbnails(small).reshape(16, 16), np.kron(small[0], np.ones((2, 2))))


def test_many_pairs_are_bounded(faces: Dataset, monkeypatch) -> None:
    splits = draw_splits(faces.labels)
    samples, hidden = faces.samples.copy(), splits.test
    for place in (0, -1):
        samples[hidden[place], 0] = COPIES["brightened"](samples[splits.development[place], 0])
    changed = replace(faces, samples=samples, fingerprint="")
    assert len(near_duplicates(changed, hidden)) == 2
    monkeypatch.setattr(module, "MOST_PAIRS", 50 * len(splits.development))
    assert len(near_duplicates(changed, hidden)) == 1
    assert "(of the first 50 sealed ones)" in near_duplicate_note(changed, hidden)
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    assert near_duplicates(changed, hidden) == [], "a set too large to be read for it"
