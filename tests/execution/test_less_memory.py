"""Trainings that run out of memory are trained again with less of it held at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mlcompare.data import Dataset, draw_splits
from mlcompare.execution import bundles
from mlcompare.execution.bundles import run_bundle
from mlcompare.execution.less_memory import SMALLEST, with_less_memory
from mlcompare.losses.compose import LossEntry, Term
from mlcompare.study.job_record import job_record
from mlcompare.training import EncoderConfig, TrainingConfig, TrainingData, TrainingJob, TrainingResult, train
from mlcompare.training.population import train_population

ENTRY = LossEntry("normface", "single", (Term("normface"),))


@pytest.fixture(scope="module")
def data() -> TrainingData:
    labels = np.repeat(np.arange(12), 8)
    samples = (np.random.default_rng(0).normal(size=(96, 5)) + labels[:, None]).astype(np.float32)
    return TrainingData(
        Dataset("x", samples, labels, tuple("abcdefghijkl")), draw_splits(labels, test_classes=0.3, folds=2)
    )


def jobs(count: int) -> tuple[TrainingJob, ...]:
    config = TrainingConfig(steps=4, classes_per_batch=4, samples_per_class=4)
    encoder = EncoderConfig("linear", 3)
    return tuple(
        TrainingJob("trial", ENTRY, {"lr": 0.001 * (n + 1)}, encoder, config, 0, n, trial=n) for n in range(count)
    )


def scarce(fits):
    """Return the trainings of a machine on which `fits(jobs)` says what it has the memory for."""

    def run(asked, data):
        if fits(asked):
            return train_population(asked, data) if len(asked) > 1 else [train(asked[0], data)]
        return [TrainingResult(job.key, "failed", "out of memory") for job in asked]

    return run


@pytest.mark.parametrize("most", [1, 2, 3, 6])
def test_a_population_is_cut_until_it_fits(most: int, data, monkeypatch, tmp_path) -> None:
    run = scarce(lambda asked: len(asked) <= most)
    monkeypatch.setattr(bundles, "train_population", run)
    results = run_bundle(jobs(7), data)
    expected = train_population(jobs(7), data)
    assert [result.key for result in results] == [job.key for job in jobs(7)]
    for result, other in zip(results, expected):
        assert result.status == "ok"
        assert result.metrics == pytest.approx(other.metrics, abs=1e-6)
        assert result.retried.startswith("out of memory as one of ")
        assert int(result.retried.split()[-1]) <= most
        assert job_record(jobs(7)[0], result, tmp_path)["retried"] == result.retried


def test_a_training_is_cut_into_pieces_until_it_fits(data, monkeypatch) -> None:
    run = scarce(lambda asked: (asked[0].training.microbatch or 16) <= 8)
    monkeypatch.setattr(bundles, "train", lambda job, data: run([job], data)[0])
    (result,) = run_bundle(jobs(1), data)
    assert result.retried == "out of memory: trained in pieces of 8"
    assert result.metrics == pytest.approx(train(jobs(1)[0], data).metrics, abs=1e-6)


def test_what_never_fits_fails_and_says_what_was_tried(data, monkeypatch) -> None:
    tried = []

    def run(asked):
        tried.append(asked[0].training.microbatch)
        return [TrainingResult(job.key, "failed", "out of memory") for job in asked]

    (result,) = with_less_memory(jobs(1), run)
    assert (result.status, result.reason) == ("failed", "out of memory")
    assert tried == [None, SMALLEST]
    assert result.retried == f"out of memory: trained in pieces of {SMALLEST}"


def test_only_those_short_of_memory_are_trained_again() -> None:
    seen = []

    def run(asked):
        seen.append([job.trial for job in asked])
        results = [TrainingResult(job.key) for job in asked]
        if len(asked) == 4:
            results[1] = TrainingResult(asked[1].key, "failed", "out of memory")
            results[2] = TrainingResult(asked[2].key, "failed", "the loss is not finite at step 3")
        return results

    results = with_less_memory(jobs(4), run)
    assert seen == [[0, 1, 2, 3], [1]]
    assert [result.status for result in results] == ["ok", "ok", "failed", "ok"]
    assert [result.retried is not None for result in results] == [False, True, False, False]


def test_an_allocator_that_refuses_is_out_of_memory(data, monkeypatch) -> None:
    calls = []

    def refusing(*args, **kwargs):
        calls.append(args)
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("mlcompare.training.loop._Training.run", refusing)
    (result,) = run_bundle(jobs(1), data)
    assert result.reason == "out of memory"
    assert len(calls) == 2  # at once, and in pieces of 8
