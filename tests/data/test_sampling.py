"""P×K batches: what they promise holds for any labels."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcompare.data import pk_batches
from mlcompare.errors import DataError, InvalidValueError


def draw(labels: torch.Tensor, classes: int, samples: int, steps: int = 7, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    options = {"classes_per_batch": classes, "samples_per_class": samples, "steps": steps}
    return pk_batches(labels, generator=generator, **options)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=8), st.integers(1, 6), st.integers(0, 99))
def test_every_batch_has_p_classes_of_k_samples(counts: list[int], samples: int, seed: int) -> None:
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]
    classes = max(1, len(counts) - 1)
    batches = draw(labels, classes, samples, seed=seed)
    assert batches.shape == (7, classes * samples)
    for batch in batches:
        values, times = labels[batch].unique(return_counts=True)
        assert len(values) == classes
        assert times.eq(samples).all()
        for value in values.tolist():
            rows = batch[labels[batch] == value]
            _, each = rows.unique(return_counts=True)
            assert each.max() - each.min() <= 1, "samples of a small class repeat as evenly as can be"
            assert len(each) == min(samples, counts[value])


def test_seed_decides() -> None:
    labels = torch.arange(6).repeat(5)
    assert draw(labels, 3, 2, seed=1).equal(draw(labels, 3, 2, seed=1))
    assert not draw(labels, 3, 2, seed=1).equal(draw(labels, 3, 2, seed=2))


def test_every_sample_is_drawn_about_equally_often() -> None:
    labels = torch.arange(4).repeat_interleave(5)
    counts = torch.bincount(draw(labels, 2, 2, steps=2000).flatten(), minlength=20)
    assert (counts - 400).abs().max() < 80, "4 σ of a binomial with p = 1/5 of 2000"


def test_too_few_classes_and_bad_counts_are_refused() -> None:
    labels = torch.arange(3).repeat(4)
    with pytest.raises(DataError, match="a batch needs 4 classes, got 3 classes"):
        draw(labels, 4, 2)
    with pytest.raises(InvalidValueError, match="1 or more"):
        draw(labels, 2, 0)
