"""A teacher in trainings: each batch is told its own rows, in both engines, killed and resumed, in pieces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mlcompare.data import corrupt_splits
from mlcompare.execution.data_file import lay_out, open_data
from mlcompare.losses import Distillation, LossEntry, Term
from mlcompare.training import EncoderConfig, TrainingData, train
from mlcompare.training.population import population_key
from mlcompare.training.prepare import prepare, stage_batches
from mlcompare.training.teachers import Teachers, distilling, make_room
from tests.training.test_checkpoint import ENGINES, at_every_step, two
from tests.training.test_population import assert_alike

PLAIN = LossEntry("x", "distillation", (Term("triplet"),))
SUM = LossEntry("distillation_arcface", "distillation", (Term("arcface"),))
CASES = {
    "plain": (PLAIN, {"teacher": "wise"}),
    "in a sum": (LossEntry("x", "sum", (Term("softmax"), Term(PLAIN))), {"teacher": "wise"}),
    "nested": (LossEntry("x", "matryoshka", (Term(SUM),)), {"teacher": "wise", "prefixes": "2"}),
    "last of stages": (LossEntry("x", "stages", (Term("softmax"), Term(SUM))), {"teacher": "other"}),
}  # fmt: skip


@pytest.fixture(scope="module")
def taught(data) -> TrainingData:
    rng = np.random.default_rng(5)
    made = {name: rng.normal(size=(72, width)).astype(np.float32) for name, width in (("wise", 7), ("other", 3))}
    return replace(data, teachers=made)


@pytest.fixture(params=CASES)
def jobs(request, make_members):
    return make_members(*CASES[request.param])


def test_both_engines_agree(taught, jobs) -> None:
    assert population_key(jobs[0]) is not None
    assert_alike(jobs, taught)


def test_each_batch_is_told_its_own_rows(taught, make_job, monkeypatch) -> None:
    told = []
    compute = Distillation.compute

    def watched(self, embeddings, labels, noise):
        told.append(self.told.clone())
        return compute(self, embeddings, labels, noise)

    monkeypatch.setattr(Distillation, "compute", watched)
    splits = corrupt_splits(taught.splits, taught.dataset.labels, label_noise=0.3, imbalance=3.0, seed=0)
    data = replace(taught, splits=splits)
    job = replace(make_job(training={"steps": 3}), loss=PLAIN, hyperparameters={"teacher": "wise"})
    assert train(job, data).status == "ok"
    prepared = prepare(job, data)
    rows = prepared.rows[stage_batches(job, prepared, prepared.stages[0])]
    torch.testing.assert_close(torch.stack(told), torch.as_tensor(data.teachers["wise"])[rows])


def test_what_the_teacher_says_counts(taught, jobs) -> None:
    other = replace(taught, teachers={name: table[::-1].copy() for name, table in taught.teachers.items()})
    assert train(jobs[0], taught).history["loss"] != train(jobs[0], other).history["loss"]


def test_in_pieces_it_is_the_training(taught, jobs) -> None:
    job = replace(jobs[0], encoder=EncoderConfig("mlp", 4, {"width": 16}))
    whole, pieces = (train(replace(job, training=job.training.replaced(microbatch=n)), taught) for n in (None, 2))
    assert whole.status == pieces.status == "ok"
    np.testing.assert_allclose(pieces.history["loss"], whole.history["loss"], rtol=1e-4)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", ["plain", "last of stages"])
def test_killed_it_ends_with_the_same_numbers(taught, make_job, tmp_path: Path, monkeypatch, engine, case) -> None:
    entry, values = CASES[case]
    jobs = [replace(job, loss=entry, hyperparameters=values) for job in two(make_job, tmp_path)]
    at_every_step(ENGINES[engine], jobs, taught, monkeypatch, (3, 7))


def test_a_sample_of_classes_beside_a_teacher(taught, make_job) -> None:
    job = replace(make_job(training={"class_sample": 0.7}), loss=SUM, hyperparameters={"teacher": "wise"})
    assert train(job, taught).status == "ok"


def test_members_that_leave_take_their_teacher_along(taught, make_job) -> None:
    rows = torch.arange(24).reshape(2, 3, 4)  # steps, members, batch
    [(_, loss)] = PLAIN.build({"teacher": "wise"}, num_classes=5, embedding_dim=4)
    make_room(loss, taught.teachers, 4)
    teachers, buffers = Teachers(loss, taught.teachers, rows), {"told": torch.zeros(2, 4, 7)}
    assert loss.told.shape == (4, 7)
    teachers.keep([0, 2])
    teachers.tell_all(1, buffers)
    torch.testing.assert_close(buffers["told"], torch.as_tensor(taught.teachers["wise"])[rows[1, [0, 2]]])
    assert list(distilling(loss)) == [""]


def test_a_teacher_that_is_not_there_ends_the_training(data, make_job) -> None:
    result = train(replace(make_job(), loss=PLAIN, hyperparameters={"teacher": "wise"}), data)
    assert result.status == "failed"
    assert "the data must have the teacher, got 'wise'" in result.reason


def test_workers_map_it(taught, tmp_path: Path) -> None:
    opened = open_data(lay_out(taught, tmp_path))
    for name, table in taught.teachers.items():
        assert isinstance(opened.teachers[name], np.memmap)
        assert np.array_equal(opened.teachers[name], table)
    again = open_data(lay_out(opened, tmp_path))
    assert again.teachers["wise"].filename == opened.teachers["wise"].filename
