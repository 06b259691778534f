"""Validation along the way: what is measured, and that it leaves the training as it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from mlcompare.encoders import register_encoder
from mlcompare.encoders.base import ENCODERS
from mlcompare.evaluation import evaluate_with_classes
from mlcompare.training import EncoderConfig, TrainingConfig, restore, train
from mlcompare.training.curve import evaluation_steps, undisturbed
from mlcompare.training.population import train_population

CONV = EncoderConfig("conv", 6, {"channels": [4, 8]})  # batch norm
ENGINES = {"alone": lambda jobs, data: [train(job, data) for job in jobs], "together": train_population}


@pytest.fixture(params=ENGINES)
def engine(request):
    return ENGINES[request.param]


@pytest.fixture
def noisy():
    """An encoder that draws random numbers in training, and in evaluation too."""

    class Restless(nn.Linear):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return super().forward(inputs) + 0.01 * torch.rand(())

    @register_encoder("restless", takes="any")
    def restless(input_shape, embedding_dim):
        """Dropout, and chance in evaluation."""
        return nn.Sequential(nn.Flatten(), nn.Dropout(0.3), Restless(int(np.prod(input_shape)), embedding_dim))

    yield EncoderConfig("restless", 4)
    ENCODERS._records.pop("restless")


def pair(make_job, loss="cosface", **changes):
    training = {"steps": 10, "augment": changes.pop("augment", {}), **changes.pop("training", {})}
    encoder = changes.pop("encoder", EncoderConfig("linear", 4))
    made = (make_job(loss, seed=seed, training=training, keep=True, **changes) for seed in (1, 2))
    return [replace(job, encoder=encoder) for job in made]


def silent(job):
    return replace(job, training=job.training.replaced(evaluations=0))


def assert_same_weights(one, other) -> None:
    assert one.artifacts.keys() == other.artifacts.keys()
    for key, found in one.artifacts.items():
        for name, weights in found.items() if isinstance(found, dict) else [(key, found)]:
            wanted = other.artifacts[key][name] if isinstance(found, dict) else other.artifacts[key]
            np.testing.assert_array_equal(weights, wanted, err_msg=f"{key} {name}")


@pytest.mark.parametrize("loss", ["cosface", "margin_based", "center", "adaface", "noise_resistant_softmax"])
@pytest.mark.parametrize("split", ["validation", "test"])
def test_evaluations_leave_weights_and_scores_as_they_are(images, make_job, engine, loss, split) -> None:
    jobs = pair(make_job, loss, encoder=CONV, augment={"flip": 0.5, "shift": 1}, split=split)
    looked = engine(jobs, images)
    unseen = engine([silent(job) for job in jobs], images)
    for one, other in zip(looked, unseen):
        assert one.status == "ok", one.reason
        assert one.curve["step"] == [2, 4, 6, 8, 10]
        assert other.curve == {}
        assert (one.metrics, one.history, one.per_class) == (other.metrics, other.history, other.per_class)
        assert_same_weights(one, other)


def test_random_numbers_of_an_evaluation_are_its_own(data, make_job, noisy) -> None:
    for job in pair(make_job, encoder=noisy):
        torch.manual_seed(0)
        one = train(job, data)
        torch.manual_seed(0)
        other = train(silent(job), data)
        assert one.history == other.history
        np.testing.assert_array_equal(one.artifacts["weights"]["2.weight"], other.artifacts["weights"]["2.weight"])


def test_modes_come_back_part_by_part() -> None:
    encoder = nn.Sequential(nn.BatchNorm1d(2).eval(), nn.Dropout())
    with undisturbed(encoder):
        encoder.eval()
    assert [part.training for part in encoder] == [False, True]
    with pytest.raises(ZeroDivisionError), undisturbed(encoder.eval()):
        encoder[1].train(1 / 0)
    assert not encoder[1].training


def test_each_point_is_the_score_of_a_training_that_ends_there(data, make_job, engine) -> None:
    """With a constant rate, the first steps of a long training are a short one: they draw the same batches."""
    jobs = pair(make_job, "contrastive", training={"steps": 8, "evaluations": 8, "sampler": "random"})
    for number, found in enumerate(engine(jobs, data)):
        assert found.curve["step"] == list(range(1, 9))
        assert found.curve["map_at_r"][-1] == found.metrics["map_at_r"]
        assert found.step == 8
        for step in (2, 5):
            short = replace(jobs[number], training=jobs[number].training.replaced(steps=step, evaluations=0))
            score = train(short, data).metrics["map_at_r"]
            assert found.curve["map_at_r"][step - 1] == pytest.approx(score, abs=1e-6)


def test_a_final_training_is_measured_on_validation_and_sealed_samples_are_read_once(
    data, make_job, engine, monkeypatch
) -> None:
    read: list[set[int]] = []

    def spied(embeddings, labels, *names, **more):
        read.append(set(labels.tolist()))
        return evaluate_with_classes(embeddings, labels, *names, **more)

    monkeypatch.setattr("mlcompare.training.scoring.evaluate_with_classes", spied)
    final = pair(make_job, split="test")[0]
    (found,) = engine([final], data)
    fold, labels = data.splits.folds[0], data.dataset.labels
    validation, sealed = set(labels[fold.validation].tolist()), set(labels[data.splits.test].tolist())
    assert read == [validation] * 5 + [sealed]
    trial = train(replace(final, split="validation"), data)
    assert found.curve["map_at_r"] == pytest.approx(trial.curve["map_at_r"], abs=1e-6)
    assert found.metrics["map_at_r"] != found.curve["map_at_r"][-1]


def test_steps_count_over_all_stages(data, make_job, engine) -> None:
    jobs = [
        make_job("two", ["softmax", "triplet"], "stages", seed=seed, training={"steps": 10}, keep=True)
        for seed in (1, 2)
    ]
    for one, other in zip(engine(jobs, data), engine([silent(job) for job in jobs], data)):
        assert one.curve["step"] == [2, 4, 6, 8, 10]
        assert_same_weights(one, other)


@pytest.mark.parametrize("metric", ["map_at_r", "eer"])
@pytest.mark.parametrize("split", ["validation", "test"])
def test_best_scores_and_keeps_the_weights_of_the_best_step(data, make_job, engine, metric, split) -> None:
    training = {"steps": 12, "evaluations": 12, "optimizer": "sgd"}
    jobs = pair(make_job, "softmax", training=training, values={"lr": 3.0}, split=split, metrics=(metric,))
    chosen = [replace(job, training=job.training.replaced(select="best")) for job in jobs]
    better = max if metric == "map_at_r" else min
    steps = set()
    for job, last, best in zip(chosen, engine(jobs, data), engine(chosen, data)):
        values = best.curve[metric]
        assert values == pytest.approx(last.curve[metric], abs=1e-6)
        assert best.step == best.curve["step"][values.index(better(values))]
        assert last.step == 12
        steps.add(best.step)
        if split == "validation":
            assert best.metrics[metric] == pytest.approx(better(values), abs=1e-9)
        trained = restore(job, data, best)
        rows = best.artifacts["rows"]
        np.testing.assert_allclose(
            trained.embed(data.dataset.samples[rows]), best.artifacts["embeddings"], rtol=1e-4, atol=1e-5
        )
    assert min(steps) < 12, "a training whose best step is not its last"


def test_best_of_the_last_stage(data, make_job, engine) -> None:
    training = {"steps": 10, "evaluations": 10, "select": "best"}
    jobs = [make_job("two", ["softmax", "triplet"], "stages", seed=seed, training=training) for seed in (1, 2)]
    for found in engine(jobs, data):
        assert found.step > 5
        later = [v for s, v in zip(found.curve["step"], found.curve["map_at_r"]) if s > 5]
        assert found.metrics["map_at_r"] == pytest.approx(max(later), abs=1e-9)


def test_best_needs_steps_to_choose_among() -> None:
    with pytest.raises(ValidationError, match="`evaluations` must be 2 or more"):
        TrainingConfig(select="best", evaluations=1)


def test_a_training_that_goes_wrong_fails_as_without_evaluations(data, make_job, engine) -> None:
    jobs = pair(make_job, "softmax", values={"lr": 1e30}, training={"optimizer": "sgd", "steps": 30})
    for one, other in zip(engine(jobs, data), engine([silent(job) for job in jobs], data)):
        assert one.status == "failed"
        assert one.reason == other.reason


@pytest.mark.parametrize(("steps", "evaluations"), [(1, 5), (4, 5), (7, 3), (100, 0), (10_000, 1000)])
def test_points_are_spread_evenly_and_end_at_the_end(steps, evaluations) -> None:
    found = evaluation_steps(steps, evaluations)
    assert len(found) == min(steps, evaluations)
    assert found == () or (found[0] >= 1 and found[-1] == steps)
    gaps = np.diff((0, *found))
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1
