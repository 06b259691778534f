"""Batches come from the device or from a memory map read ahead: the numbers don't tell which."""

from __future__ import annotations

import gc
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from mlcompare.data import Dataset, draw_splits
from mlcompare.training import EncoderConfig, TrainingData, feed, scoring, train
from mlcompare.training.feed import AHEAD, Feed
from mlcompare.training.population import train_population
from mlcompare.training.prepare import Standardizer, prepare

CONV = EncoderConfig("conv", 6, {"channels": [4, 8]})
ENGINES = {"alone": lambda jobs, data: [train(job, data) for job in jobs], "together": train_population}


class Watched(np.memmap):
    """A memory map that knows the most rows that were copied out of it at a time."""

    most = 0

    def __getitem__(self, index):
        found = super().__getitem__(index)
        if isinstance(index, np.ndarray):
            Watched.most = max(Watched.most, len(found))
        return found


@pytest.fixture
def mapped(images, tmp_path):
    """The images in a file that is mapped."""
    path = tmp_path / "samples.npy"
    np.save(path, images.dataset.samples)
    samples = np.load(path, mmap_mode="c")
    return TrainingData(replace(images.dataset, samples=samples), images.splits)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("augment", [{}, {"shift": 1}])
def test_samples_that_do_not_fit_train_alike(engine, augment, images, mapped, make_job, monkeypatch) -> None:
    jobs = [replace(make_job(fold=fold, training={"augment": augment}), encoder=CONV) for fold in (0, 1)]
    expected = ENGINES[engine](jobs, images)
    monkeypatch.setattr(feed, "room", lambda device: 0)
    found = ENGINES[engine](jobs, mapped)
    for one, other in zip(expected, found):
        assert one.status == other.status == "ok"
        assert one.metrics == other.metrics
        assert one.history == other.history


def test_where_samples_lie(tmp_path) -> None:
    in_memory = np.zeros((4, 3), np.float32)
    np.save(tmp_path / "x.npy", in_memory)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="c")
    assert Feed(in_memory, "cpu", most=0).resident  # it is there anyway
    assert Feed(mapped, "cpu", most=mapped.nbytes).resident
    assert not Feed(mapped, "cpu", most=47).resident
    for samples in (in_memory, mapped):
        assert np.shares_memory(Feed(samples, "cpu", most=0).samples.numpy(), samples)
    assert not Feed(in_memory, "meta", most=0).resident
    assert feed.room("cpu") > 0


@pytest.mark.parametrize("first", [0, 7])
def test_batches_in_any_order_are_those_asked_for(first: int, tmp_path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(20, 3)))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="c")
    rows = torch.randint(0, 20, (12, 2, 4), generator=torch.Generator().manual_seed(0))
    batches = Feed(mapped, "cpu", most=0).batches(rows)
    for step in [*range(first, 12), 3, 4]:  # goes on from a checkpoint, and is asked for earlier ones
        assert np.array_equal(batches[step].numpy(), mapped[rows[step].numpy()])
        assert len(batches._coming) <= AHEAD
    assert np.array_equal(batches.keep([1])[5].numpy(), mapped[rows[5, 1:].numpy()])


def test_reading_ahead_ends_with_the_training(mapped, make_job, monkeypatch) -> None:
    monkeypatch.setattr(feed, "room", lambda device: 0)
    assert train(replace(make_job(), encoder=CONV), mapped).status == "ok"
    gc.collect()
    until = time.monotonic() + 10
    while any(thread.name.startswith("batches") for thread in threading.enumerate()):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_fault_while_reading_fails_the_training_alone(mapped, make_job, monkeypatch) -> None:
    monkeypatch.setattr(feed, "room", lambda device: 0)

    def broken(self, step):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(feed.Batches, "_read", broken)
    result = train(replace(make_job(), encoder=CONV), mapped)
    assert result.status == "failed"
    assert "Input/output error" in result.reason


def test_no_pass_over_the_samples_copies_many_of_them(tmp_path, make_job, monkeypatch) -> None:
    labels = np.repeat(np.arange(10), 60)
    path = tmp_path / "samples.npy"
    np.save(path, np.random.default_rng(0).integers(0, 255, (600, 1, 8, 8)).astype(np.uint8))
    samples = np.load(path, mmap_mode="c").view(Watched)
    dataset = Dataset("watched", samples, labels, tuple("abcdefghij"))
    data = TrainingData(dataset, draw_splits(labels, test_classes=0.34, folds=2))
    monkeypatch.setattr(scoring, "IMAGES_ON_CPU", 16)
    monkeypatch.setattr("mlcompare.training.prepare.CHUNK_PIXELS", 32 * 64)
    Watched.most = 0
    assert train(replace(make_job(training={"evaluations": 2}), encoder=CONV), data).status == "ok"
    assert 0 < Watched.most <= 32
    rows = data.splits.folds[0].train
    whole = Standardizer._statistics(dataset, rows)
    values = np.asarray(samples)[rows].astype(float)
    assert whole[0].ravel() == pytest.approx([values.mean()])
    assert whole[1].ravel() == pytest.approx([values.std()])
    monkeypatch.setattr("mlcompare.training.prepare.MOST_VALUES", 50 * 64)
    some = Standardizer._statistics(dataset, rows)  # of 50 images, evenly spaced
    values = values[np.linspace(0, len(rows) - 1, 50).astype(int)]
    assert some[0].ravel() == pytest.approx([values.mean()])
    assert some[1].ravel() == pytest.approx([values.std()])


def test_prepared_rows_are_what_the_feed_gathers(mapped, make_job) -> None:
    job = replace(make_job(), encoder=CONV)
    prepared = prepare(job, mapped)
    rows = prepared.rows[torch.arange(6).view(2, 3)]
    resident = Feed(np.asarray(mapped.dataset.samples), "cpu").batches(rows)
    read = Feed(mapped.dataset.samples, "cpu", most=0).batches(rows)
    assert all(torch.equal(resident[step], read[step]) for step in range(2))
