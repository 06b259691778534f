"""What theory says of m and s, against the papers' own definitions."""

from __future__ import annotations

import numpy as np
import pytest

from mlcompare.search.needs import lowest_scale
from mlcompare.search.theory import adacos_scale, cosface_scale, largest_cosine_margin, theory_sentences


@pytest.mark.parametrize("classes", [3, 10, 1000, 85_000])
def test_the_scale_at_which_a_class_of_its_own_direction_reaches_the_probability(classes: int) -> None:
    """Of C directions spread as far as they can be (cosine -1/(C-1)), softmax gives the own class exactly P."""
    scale = cosface_scale(classes, 0.9)
    own, other = np.exp(scale - scale), np.exp(-scale / (classes - 1) - scale)
    assert own / (own + (classes - 1) * other) == pytest.approx(0.9)
    assert lowest_scale(classes) == pytest.approx(min(adacos_scale(classes), scale))


def test_directions_that_are_as_far_apart_as_can_be_are_one_margin_apart() -> None:
    simplex = np.eye(5) - 1 / 5  # 5 classes, in 4 dimensions
    cosines = simplex @ simplex.T / np.linalg.norm(simplex, axis=1) ** 2
    assert 1 - cosines[~np.eye(5, dtype=bool)] == pytest.approx(largest_cosine_margin(5, 4))
    angles = 2 * np.pi * np.arange(7) / 7  # on a circle: the margin is that to the neighbour
    assert 1 - np.cos(angles[1]) == pytest.approx(largest_cosine_margin(7, 2))


def test_small_numbers_of_classes_have_no_bound() -> None:
    assert (adacos_scale(2), cosface_scale(1), largest_cosine_margin(1, 64)) == (0.0, 0.0, 0.0)
    assert "can't all be" in theory_sentences(1000, 64)[1]
    assert "at most" in theory_sentences(10, 64)[1]
