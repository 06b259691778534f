"""Training loops of one's own: what they are given, what they may return, and how they resume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from mlcompare import Assignment, register_trainer
from mlcompare.training import train, trainers
from mlcompare.training.population import population_key
from mlcompare.training.trainers import TRAINERS


@pytest.fixture
def registered():
    """Register trainers for one test."""
    names = set(TRAINERS)
    yield register_trainer
    for name in set(TRAINERS) - names:
        TRAINERS._records.pop(name)


def plain(assignment: Assignment, steps: int = 20):
    """Full-batch steps of Adam."""
    parameters = [*assignment.encoder.parameters(), *assignment.loss.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=assignment.config.learning_rate)
    inputs, labels = torch.as_tensor(assignment.samples), torch.as_tensor(assignment.labels)
    for step in range(steps):
        optimizer.zero_grad()
        value = assignment.loss(assignment.encoder(assignment.standardize(inputs)), labels)
        value.backward()
        optimizer.step()
        assignment.report(step + 1, value.item())
    return assignment.encoder


def test_it_is_given_its_fold_and_what_the_trial_searches(data, make_job, registered) -> None:
    seen = []

    @registered("looker")
    def looker(assignment: Assignment):
        """Look, and train nothing."""
        seen.append(assignment)
        before = assignment.validate(assignment.encoder)
        assert 0 <= before <= 1
        return assignment.encoder

    job = replace(make_job(values={"margin": 0.1, "lr": 0.5}), trainer="looker")
    assert population_key(job) is None
    result = train(job, data)
    assert result.status == "ok", result.reason
    (given,) = seen
    assert float(given.loss.margin) == 0.1
    assert given.config.learning_rate == 0.5
    assert given.num_classes == len(np.unique(data.dataset.labels[data.splits.folds[0].train]))
    assert not set(map(bytes, given.samples)) & set(map(bytes, data.dataset.samples[data.splits.test])), "sealed"


def test_samples_are_read_where_they_are_asked_for(data, make_job, registered, monkeypatch) -> None:
    monkeypatch.setattr(trainers, "AT_ONCE", 7)
    sizes = []

    @registered("reader")
    def reader(assignment: Assignment):
        """Read some samples, then all, and embed by a function."""
        assert "samples" not in vars(assignment)  # nothing is copied before it is asked for
        some = np.array([3, 0, 3])
        np.testing.assert_array_equal(assignment.gather(some), assignment.samples[some])
        assert assignment.samples is assignment.samples
        assert len(assignment.samples) == len(assignment.labels)

        def embedded(samples):
            sizes.append(len(samples))
            return samples.reshape(len(samples), -1)

        return embedded

    result = train(replace(make_job(), trainer="reader"), data)
    assert result.status == "ok", result.reason
    assert max(sizes) == 7 < sum(sizes)


def test_an_encoder_and_a_function_score_alike(data, make_job, registered) -> None:
    @registered("module")
    def module(assignment: Assignment):
        """Return the encoder."""
        return plain(assignment)

    @registered("function")
    def function(assignment: Assignment):
        """Return a function of raw samples."""
        encoder = plain(assignment).eval()
        return lambda samples: encoder(assignment.standardize(torch.as_tensor(samples))).numpy()

    first, second = (train(replace(make_job(), trainer=name), data) for name in ("module", "function"))
    assert first.metrics == second.metrics
    assert len(first.history["loss"]) == 20
    assert first.history["loss"][-1] < first.history["loss"][0]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_what_it_reports_is_its_learning_curve(data, make_job, registered, split: str) -> None:
    modes = []

    @registered("reporter")
    def reporter(assignment: Assignment):
        """Look at validation twice on the way."""
        for step in (4, 8):
            plain(assignment, 4)
            value = assignment.validate(assignment.encoder)
            modes.append((assignment.encoder.training, assignment.loss.training))
            assignment.report(step, 0.5, value)
        return assignment.encoder

    result = train(replace(make_job(), trainer="reporter", split=split), data)
    assert result.status == "ok", result.reason
    assert modes == [(True, True)] * 2, "an evaluation leaves the training mode on"
    assert result.curve["step"] == [4, 8]
    assert result.step == 8
    if split == "validation":
        assert result.curve["map_at_r"][-1] == result.metrics["map_at_r"]


@pytest.mark.parametrize(
    ("returned", "rule"),
    [
        (None, "returns an nn.Module, or a function from samples to embeddings, got NoneType"),
        (lambda samples: np.zeros(3), r"embeddings of \d+ samples must be"),
        (lambda samples: np.full((len(samples), 2), np.nan), "diverged"),
    ],
)
def test_what_it_returns_is_checked(data, make_job, registered, returned, rule: str) -> None:
    registered("wrong")(lambda assignment: returned)
    result = train(replace(make_job(), trainer="wrong"), data)
    assert result.status == "failed"
    assert __import__("re").search(rule, result.reason), result.reason


def test_it_finds_its_folder_again(data, make_job, registered, tmp_path: Path) -> None:
    @registered("interrupted")
    def interrupted(assignment: Assignment):
        """Leave a checkpoint and fail; go on from it the next time."""
        file = assignment.folder / "last.pt"
        if not file.is_file():
            plain(assignment, 3)
            torch.save(assignment.encoder.state_dict(), file)
            raise RuntimeError("pulled the plug")
        assignment.encoder.load_state_dict(torch.load(file, weights_only=True))
        return assignment.encoder

    job = replace(make_job(), trainer="interrupted", folder=str(tmp_path / "trial/x/0/fold0"))
    assert "pulled the plug" in train(job, data).reason
    assert train(job, data).status == "ok"


def test_with_accelerate(data, make_job, registered) -> None:
    accelerate = pytest.importorskip("accelerate")

    @registered("accelerated")
    def accelerated(assignment: Assignment, epochs: int = 4):
        """The loop is Accelerate's."""
        accelerator = accelerate.Accelerator(cpu=assignment.device == "cpu")
        parameters = [*assignment.encoder.parameters(), *assignment.loss.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=0.01)
        rows = TensorDataset(torch.as_tensor(assignment.samples), torch.as_tensor(assignment.labels))
        order = torch.Generator().manual_seed(assignment.random_state)
        loader = DataLoader(rows, batch_size=12, shuffle=True, generator=order)
        encoder, loss, optimizer, loader = accelerator.prepare(assignment.encoder, assignment.loss, optimizer, loader)
        for epoch in range(epochs):
            for samples, labels in loader:
                optimizer.zero_grad()
                value = loss(encoder(assignment.standardize(samples)), labels)
                accelerator.backward(value)
                optimizer.step()
            assignment.report(epoch + 1, value.item())
        return accelerator.unwrap_model(encoder)

    first, again = (train(replace(make_job(), trainer="accelerated"), data) for _ in range(2))
    assert first.status == "ok", first.reason
    assert first.metrics == again.metrics
    assert first.history["loss"][-1] < first.history["loss"][0]
