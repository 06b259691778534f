"""P×K batches: what they promise holds for any labels."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcompare.data import SAMPLERS, check_sampler, pk_batches, sampling
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


def sampled(name: str, labels: torch.Tensor, classes: int, samples: int, steps: int = 7, seed: int = 0):
    options = {"classes_per_batch": classes, "samples_per_class": samples, "steps": steps}
    return SAMPLERS[name](labels, generator=torch.Generator().manual_seed(seed), **options)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_gives_whole_batches_from_its_seed(name: str) -> None:
    labels = torch.arange(5).repeat_interleave(torch.tensor([1, 3, 9, 4, 20]))
    batches = sampled(name, labels, 4, 3, steps=9)
    assert batches.shape == (9, 12)
    assert batches.dtype == torch.int64
    assert batches.min() >= 0
    assert batches.max() < len(labels)
    assert batches.equal(sampled(name, labels, 4, 3, steps=9))
    assert not batches.equal(sampled(name, labels, 4, 3, steps=9, seed=1))
    with pytest.raises(InvalidValueError, match="1 or more"):
        sampled(name, labels, 0, 3)


def test_class_balanced_deals_out_every_class_alike() -> None:
    labels = torch.arange(4).repeat_interleave(torch.tensor([1, 10, 100, 1000]))
    drawn = labels[sampled("class_balanced", labels, 2, 3, steps=400).flatten()]
    assert torch.bincount(drawn).tolist() == [600] * 4
    rows = sampled("class_balanced", labels, 10, 4, steps=1000).flatten()
    each = torch.bincount(rows[labels[rows] == 1] - 1, minlength=10)
    assert (each - 1000).abs().max() < 200, "6 σ of a binomial with mean 1000"


def test_random_batches_repeat_no_sample_and_follow_the_classes() -> None:
    labels = torch.arange(2).repeat_interleave(torch.tensor([10, 30]))
    batches = sampled("random", labels, 4, 5, steps=2000)
    assert all(len(batch.unique()) == 20 for batch in batches[:50])
    counts = torch.bincount(batches.flatten(), minlength=40)
    assert (counts - 1000).abs().max() < 120, "5 σ of a binomial with p = 1/2 of 2000"
    assert all(len(batch.unique()) == 40 for batch in sampled("random", labels, 4, 10)), "all of them, where all fit"
    with pytest.raises(DataError, match="a batch needs 44 samples, got 40 samples"):
        check_sampler("random", labels, classes_per_batch=4, samples_per_class=11)


def test_an_epoch_gives_every_sample_once_and_drops_none() -> None:
    labels = torch.arange(5).repeat(5)
    stream = sampled("epoch", labels, 2, 4, steps=25).flatten()  # 200 draws: eight passes of 25
    for number in range(8):
        assert stream[25 * number : 25 * (number + 1)].sort().values.equal(torch.arange(25))
    assert sampled("epoch", labels[:3], 2, 4, steps=2).shape == (2, 8), "a batch larger than the data repeats them"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(1, 12), st.integers(0, 99))
def test_large_classes_are_drawn_as_evenly(counts: list[int], samples: int, seed: int) -> None:
    sizes, generator = torch.tensor(counts), torch.Generator().manual_seed(seed)
    classes = torch.arange(len(counts)).expand(6, -1)
    places = sampling._by_floyd(sizes, classes, samples, generator)
    assert places.shape == (6, len(counts), samples)
    for row in places:
        for size, drawn in zip(counts, row):
            values, each = drawn.unique(return_counts=True)
            assert values.min() >= 0
            assert values.max() < size
            assert len(values) == min(samples, size)
            assert each.max() - each.min() <= 1


def test_large_classes_are_drawn_fairly() -> None:
    """Every place, and every pair of places, is as likely; the default switches over without a seam."""
    generator = torch.Generator().manual_seed(0)
    places = sampling._by_floyd(torch.tensor([6]), torch.zeros(12000, 1, dtype=torch.int64), 2, generator)[:, 0]
    table = torch.zeros(6, 6)
    table.index_put_((places.amin(1), places.amax(1)), torch.ones(12000), accumulate=True)
    pairs = table[torch.triu(torch.ones(6, 6), 1).bool()]
    assert (pairs - 800).abs().max() < 150, "5 σ of a binomial with p = 1/15 of 12000"
    labels = torch.arange(3).repeat_interleave(torch.tensor([300, 2, 40]))
    for batch in draw(labels, 2, 4):
        assert labels[batch].unique(return_counts=True)[1].tolist() == [4, 4]


def test_what_small_classes_draw_is_fixed() -> None:
    """Numbers of finished studies rest on these draws."""
    batches = draw(torch.arange(4).repeat_interleave(torch.tensor([2, 5, 3, 4])), 2, 3, steps=2)
    assert batches.tolist() == [[9, 7, 8, 10, 11, 12], [0, 1, 0, 8, 9, 7]]


def test_too_few_classes_and_bad_counts_are_refused() -> None:
    labels = torch.arange(3).repeat(4)
    with pytest.raises(DataError, match="a batch needs 4 classes, got 3 classes"):
        draw(labels, 4, 2)
    with pytest.raises(InvalidValueError, match="1 or more"):
        draw(labels, 2, 0)


def test_many_classes_are_drawn_as_few_are(monkeypatch) -> None:
    """Every ordered pair of classes, and every pair of samples in a class, is as likely, whichever way it is drawn."""
    labels = torch.arange(9).repeat_interleave(3)
    few = draw(labels, 2, 2, steps=7200, seed=3)
    monkeypatch.setattr(sampling, "SHUFFLED_UP_TO", 8)
    many = draw(labels, 2, 2, steps=7200, seed=3)
    assert not many.equal(few)
    for batches in (few, many):
        classes = labels[batches][:, [0, 2]]
        ordered = torch.bincount(classes[:, 0] * 9 + classes[:, 1], minlength=81).reshape(9, 9)
        assert ordered.diagonal().eq(0).all(), "a class stands once in a batch"
        each = ordered[~torch.eye(9, dtype=torch.bool)].double()
        assert ((each - 100) ** 2 / 100).sum() < 116, "χ² of 71 degrees of freedom at .0005"
        samples = torch.bincount(batches.flatten(), minlength=27).double()
        assert ((samples - 28800 / 27) ** 2 / (28800 / 27)).sum() < 57, "χ² of 26 degrees of freedom at .0005"


def test_rows_with_too_few_distinct_classes_are_drawn_anew(monkeypatch) -> None:
    monkeypatch.setattr(sampling, "SHUFFLED_UP_TO", 1)
    labels = torch.arange(13)
    batches = draw(labels, 3, 1, steps=4000)
    assert batches.sort(1).values.diff(dim=1).gt(0).all()
    rare = sampling._first_distinct(4, 3, 4000, torch.Generator().manual_seed(0))  # about one row in twelve at first
    assert rare.sort(1).values.diff(dim=1).gt(0).all()
    sequences = torch.bincount((rare * torch.tensor([16, 4, 1])).sum(1), minlength=64)
    assert (sequences > 0).sum() == 24, "every sequence of 3 of 4"
    assert ((sequences[sequences > 0] - 4000 / 24) ** 2 / (4000 / 24)).sum() < 50, "χ² of 23 degrees of freedom"


def test_the_work_does_not_grow_with_the_classes() -> None:
    """A hundred thousand classes: no tensor of a draw is as long as the classes are many, for each step."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        most = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            found = func(*args, **(kwargs or {}))
            for tensor in found if isinstance(found, tuple | list) else [found]:
                if isinstance(tensor, torch.Tensor):
                    self.most = max(self.most, tensor.numel())
            return found

    labels = torch.arange(100_000).repeat(2)
    with Largest() as watching:
        batches = draw(labels, 32, 4, steps=64)
    assert watching.most == len(labels), "the labels themselves"
    assert labels[batches].reshape(64, 32, 4).eq(labels[batches][:, ::4, None]).all()


def test_few_classes_keep_their_numbers() -> None:
    """The batches of a study with up to 1024 classes are those that version 0.1 drew."""
    labels = torch.arange(1024).repeat(3)
    assert draw(labels, 3, 2, steps=2, seed=5).tolist() == [
        [2223, 175, 267, 1291, 1778, 754],
        [772, 1796, 2924, 1900, 1901, 2925],
    ]
