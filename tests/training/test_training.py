"""Training: it learns, it repeats itself, and it says why it failed."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from mlcompare.errors import UnknownNameError
from mlcompare.losses.compose import LossEntry, Term
from mlcompare.training import EncoderConfig, TrainingConfig, train
from mlcompare.training.frozen import frozen_features
from mlcompare.training.health import divergence, embedding_fault
from mlcompare.training.optimizers import OPTIMIZERS, create_optimizer, learning_rate_factor
from mlcompare.training.population import train_population
from mlcompare.training.prepare import prepare


def test_the_loss_falls_and_unseen_classes_are_scored(data, make_job) -> None:
    result = train(make_job(training={"steps": 150}), data)
    assert result.status == "ok"
    assert result.history["loss"][-1] < result.history["loss"][0]
    assert 0 <= result.metrics["map_at_r"] <= 1
    assert result.seconds > 0
    assert result.peak_memory > 0


@pytest.mark.parametrize("loss", ["cosface", "margin_based", "center"])
def test_same_job_same_numbers(data, make_job, loss: str) -> None:
    one, two = train(make_job(loss), data), train(pickle.loads(pickle.dumps(make_job(loss))), data)
    assert one.metrics == two.metrics
    assert one.history == two.history
    other = train(make_job(loss, seed=8), data)
    assert other.history != one.history


def test_hyperparameters_reach_the_loss_and_the_optimiser(data, make_job) -> None:
    base = train(make_job(), data).history
    assert train(make_job(values={"margin": 0.1}), data).history != base
    assert train(make_job(values={"lr": 0.1}), data).history != base
    assert train(make_job(values={"lr": 0.01}), data).history == base


def test_only_a_test_job_sees_the_sealed_classes(data, make_job) -> None:
    validation = train(make_job(keep=True), data)
    test = train(make_job(keep=True, split="test"), data)
    assert np.array_equal(validation.artifacts["rows"], data.splits.folds[0].validation)
    assert np.array_equal(test.artifacts["rows"], data.splits.test)
    assert validation.per_class == {}
    by_class = test.per_class["map_at_r"]
    assert np.mean(list(by_class.values())) == pytest.approx(test.metrics["map_at_r"])


def test_stages_train_one_after_the_other(data, make_job) -> None:
    job = make_job("softmax_then_triplet", ["softmax", "triplet"], "stages", training={"steps": 50})
    result = train(job, data)
    assert result.status == "ok"
    assert result.history["step"] == [25, 50]


def test_the_schedule_runs_over_all_stages(data, make_job) -> None:
    """A rate that falls to nothing at half of the training leaves the encoder as the first stage made it."""
    falling = {"steps": 20, "schedule": "step", "milestones": (0.5,), "step_factor": 1e-30, "optimizer": "sgd"}
    staged = replace(make_job("two", ["softmax", "triplet"], "stages", training=falling), keep=True)
    staged = replace(staged, loss=LossEntry("two", "stages", (Term("softmax", 0.5), Term("triplet", 0.5))))
    first = replace(make_job("softmax", training={"steps": 10, "optimizer": "sgd"}), keep=True)
    for engine in (train, lambda job, data: train_population([job, replace(job, random_state=8)], data)[0]):
        both, alone = (engine(job, data).artifacts["weights"] for job in (staged, first))
        for name, weights in alone.items():
            np.testing.assert_allclose(both[name], weights, rtol=1e-5, atol=1e-6)


def test_a_warm_up_is_over_before_the_second_stage(data, make_job, monkeypatch) -> None:
    factors = []

    def watched(config, progress):
        factors.append(learning_rate_factor(config, progress))
        return factors[-1]

    monkeypatch.setattr("mlcompare.training.single_stage.learning_rate_factor", watched)
    train(make_job("two", ["softmax", "triplet"], "stages", training={"steps": 8, "warmup": 0.5}), data)
    assert factors == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0]


def test_annealing_runs_over_the_own_stage(data, make_job, monkeypatch) -> None:
    job = make_job("two", ["softmax", "sphereface"], "stages", training={"steps": 8})
    seen = []

    def build(*arguments):
        prepared = prepare(*arguments)
        prepared.stages[1].loss.register_forward_pre_hook(lambda loss, _: seen.append(float(loss.progress)))
        return prepared

    monkeypatch.setattr("mlcompare.training.loop.prepare", build)
    train(job, data)
    assert seen == [0.0, 0.25, 0.5, 0.75]


def test_training_leaves_the_number_of_threads(data, images, make_job, tmp_path) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        train(replace(make_job(training={"steps": 1}), threads=1), data)
        train_population([replace(make_job(training={"steps": 1}, seed=s), threads=1) for s in (0, 1)], data)
        frozen_features(images.dataset, "conv", {}, np.arange(20), threads=1, cache=tmp_path)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_sum_trains(data, make_job) -> None:
    assert train(make_job("both", ["arcface", "center_term"], "sum"), data).status == "ok"


def test_divergence_ends_a_training_with_the_reason(data, make_job) -> None:
    result = train(make_job("softmax", training={"lr": 1e30, "optimizer": "sgd", "steps": 60}), data)
    assert result.status == "failed"
    assert "diverged" in result.reason
    assert result.metrics == {}


def test_collapse_ends_a_training_with_the_reason() -> None:
    assert "collapsed" in embedding_fault(torch.ones(5, 3))
    assert "not finite" in embedding_fault(torch.tensor([[1.0, float("nan")], [0.0, 1.0]]))
    assert embedding_fault(torch.eye(3)) is None
    assert divergence([1.0, 2.0], 0) is None
    assert "step 3" in divergence([1.0, float("inf")], 2)


def test_a_bad_setting_fails_the_job_and_not_the_study(data, make_job) -> None:
    result = train(make_job(values={"scale": -1.0}), data)
    assert result.status == "failed"
    assert "`scale > 0` must hold" in result.reason
    unknown = train(replace(make_job(), encoder=EncoderConfig("conv", 4)), data)
    assert "takes images" in unknown.reason


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimisers_step_and_heads_have_their_own_rate(name: str) -> None:
    encoder, loss = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    optimizer = create_optimizer(encoder, [loss], TrainingConfig(optimizer=name, lr=0.1, head_lr_ratio=10.0))
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 1.0]
    before = encoder.weight.detach().clone()
    loss(encoder(torch.ones(1, 2))).sum().backward()
    optimizer.step()
    assert not before.equal(encoder.weight)


def test_schedules() -> None:
    cosine = TrainingConfig(schedule="cosine")
    assert [learning_rate_factor(cosine, p) for p in (0.0, 0.5)] == pytest.approx([1.0, 0.5])
    steps = TrainingConfig(schedule="step", milestones=(0.5, 0.75), step_factor=0.1)
    assert [learning_rate_factor(steps, p) for p in (0.4, 0.5, 0.8)] == pytest.approx([1.0, 0.1, 0.01])
    warm = TrainingConfig(schedule="cosine", warmup=0.5, steps=4)
    found = [learning_rate_factor(warm, step / 4) for step in range(4)]
    assert found == pytest.approx([0.5 * 1.0, 0.5 * (1 + np.cos(np.pi / 4)), 0.5, 0.5 * (1 + np.cos(3 * np.pi / 4))])
    with pytest.raises(UnknownNameError, match="did you mean adam"):
        create_optimizer(torch.nn.Linear(1, 1), [], TrainingConfig(optimizer="adma"))


def test_every_stage_has_a_step_and_too_few_steps_go_to_the_last(data, make_job) -> None:
    entry = make_job("three", ["softmax", "cosface", "triplet"], "stages").loss
    uneven = LossEntry(
        "three", "stages", tuple(Term(t.loss, share) for t, share in zip(entry.terms, (0.01, 0.98, 0.01)))
    )

    def stages(steps: int) -> list[tuple[int, int]]:
        job = replace(make_job("three", ["softmax"], training={"steps": steps}), loss=uneven)
        assert train(job, data).status == "ok"
        return [(stage.first, stage.steps) for stage in prepare(job, data).stages]

    assert stages(20) == [(0, 1), (1, 18), (19, 1)]
    assert stages(2) == [(0, 1), (1, 1)]
    assert stages(1) == [(0, 1)]


@pytest.mark.parametrize("loss", ["ccl", "adaface"])
def test_a_loss_keeps_its_own_momentum_and_the_optimiser_its_own(data, make_job, loss: str) -> None:
    job = make_job(loss, [loss], values={"momentum": 0.75, "lr": 0.01}, training={"momentum": 0.5})
    prepared = prepare(job, data)
    assert (prepared.config.momentum, prepared.config.lr) == (0.5, 0.01)
    assert float(prepared.stages[0].loss.momentum) == pytest.approx(0.75)


def test_an_objective_that_is_not_defined_fails_the_training(data, make_job) -> None:
    result = train(replace(make_job(), metrics=("tar_at_far_1e-9", "recall_at_1")), data)
    assert result.status == "failed"
    assert "tar_at_far_1e-9 is not defined on" in result.reason


def test_whatever_a_plug_in_raises_is_a_reason(data, make_job, monkeypatch) -> None:
    from mlcompare.losses.cosface import CosFace

    def refuse(self, cosine):
        raise AssertionError("margin too big")

    monkeypatch.setattr(CosFace, "target_cosine", refuse)
    result = train(make_job("cosface", ["cosface"]), data)
    assert (result.status, result.reason) == ("failed", "AssertionError: margin too big")
