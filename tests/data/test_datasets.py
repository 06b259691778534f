"""Readers give what they promise, and say what is wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mlcompare.data import Dataset, augment, check_augmentation, list_datasets, load_dataset
from mlcompare.errors import DataError, InvalidValueError, UnknownNameError


def test_orl_faces_are_forty_people_with_ten_photographs() -> None:
    faces = load_dataset("orl_faces")
    assert faces.samples.shape == (400, 1, 28, 24)
    assert np.bincount(faces.labels).tolist() == [10] * 40
    assert 50 < faces.samples.mean() < 200
    same = np.abs(np.diff(faces.samples[:10].astype(float), axis=0)).mean()
    other = np.abs(faces.samples[0].astype(float) - faces.samples[10::10].astype(float)).mean()
    assert same < other, "photographs of one person are nearer than of others"
    assert load_dataset("orl_faces", size=[14, 12]).samples.shape == (400, 1, 14, 12)


def test_fingerprint_follows_the_content() -> None:
    digits = load_dataset("digits")
    changed = digits.samples.copy()
    changed[0, 0, 0, 0] += 1
    again = Dataset("digits", digits.samples.copy(), digits.labels, digits.class_names)
    other = Dataset("digits", changed, digits.labels, digits.class_names)
    assert again.fingerprint == digits.fingerprint != other.fingerprint


def test_names_and_options_are_checked() -> None:
    with pytest.raises(UnknownNameError, match="did you mean orl_faces"):
        load_dataset("orl_face")
    with pytest.raises(UnknownNameError, match="did you mean size"):
        load_dataset("orl_faces", sise=3)
    with pytest.raises(InvalidValueError, match="size"):
        load_dataset("orl_faces", size=[0, 4])
    assert all(spec.summary for spec in list_datasets())


@pytest.mark.parametrize("name", [spec.name for spec in list_datasets() if "path" in spec.options])
@pytest.mark.parametrize("path", [7, ["photographs"], ""])
def test_a_path_is_text(name: str, path: object) -> None:
    with pytest.raises(InvalidValueError, match="`path` must be text") as caught:
        load_dataset(name, path=path)
    assert caught.value.place.startswith(name)


@pytest.mark.parametrize(
    ("samples", "labels", "rule"),
    [
        (np.zeros((2, 3), np.float64), np.zeros(2, np.int64), "samples must be"),
        (np.zeros((2, 3), np.float32), np.zeros(3, np.int64), "labels must be"),
        (np.full((2, 3), np.nan, np.float32), np.zeros(2, np.int64), "finite"),
        (np.zeros((2, 3), np.float32), np.array([0, 5]), "count the classes"),
        (np.zeros((0, 3), np.float32), np.zeros(0, np.int64), "at least one sample"),
    ],
)
def test_broken_arrays_are_refused(samples: np.ndarray, labels: np.ndarray, rule: str) -> None:
    with pytest.raises(DataError, match=rule):
        Dataset("mine", samples, labels, ("a", "b"))


def test_a_feature_that_is_not_finite_is_found_wherever_it_is() -> None:
    samples = np.zeros((9000, 3), np.float32)
    samples[8999, 2], samples[5000, 1] = np.inf, np.nan
    with pytest.raises(DataError, match="NaN or inf in row 5000 of `b`"):
        Dataset("mine", samples, np.zeros(9000, np.int64), ("a",), columns=("a", "b", "c"))


def test_augmentation_moves_pixels_and_invents_none() -> None:
    images = torch.arange(2 * 1 * 4 * 5, dtype=torch.float32).reshape(2, 1, 4, 5)
    moved = augment(images.repeat(50, 1, 1, 1), {"flip": 0.5, "shift": 1}, torch.Generator().manual_seed(0))
    assert moved.shape == (100, 1, 4, 5)
    for number, image in enumerate(moved):
        assert set(image.flatten().tolist()) <= set(images[number % 2].flatten().tolist())
    flipped = augment(images, {"flip": 1.0}, torch.Generator())
    assert flipped.equal(images.flip(3))
    assert augment(images, {"shift": 0}, torch.Generator()).equal(images)


def test_shift_by_one_is_a_translation() -> None:
    image = torch.rand(1, 1, 6, 6)
    seen = set()
    for seed in range(60):
        moved = augment(image, {"shift": 1}, torch.Generator().manual_seed(seed))[0, 0]
        inner = moved[1:5, 1:5]
        places = [(r, c) for r in range(3) for c in range(3) if image[0, 0, r : r + 4, c : c + 4].equal(inner)]
        assert len(places) == 1
        seen |= set(places)
    assert len(seen) == 9, "all nine shifts occur"


def test_augmentation_names_and_ranges() -> None:
    with pytest.raises(UnknownNameError, match="did you mean flip"):
        check_augmentation({"flop": 1})
    with pytest.raises(InvalidValueError, match="from 0 to 1"):
        check_augmentation({"flip": 2})
