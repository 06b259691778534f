"""Training in float16: the loss is scaled so that gradients don't vanish, and a step that overflows is not taken."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch

from mlcompare.study.config import validated
from mlcompare.study.plan import make_plan
from mlcompare.training import EncoderConfig, train
from mlcompare.training.population import population_key
from mlcompare.training.prepare import build_encoder
from tests.study.conftest import TINY
from tests.training.test_checkpoint import CONV, ENGINES, at_every_step, two

MLP = EncoderConfig("mlp", 4, {"width": 16})


def halved(job, **more):
    return replace(job, training=job.training.replaced(precision="float16", **more))


def scaled_from(monkeypatch, scale: float) -> list[float]:
    """Have scaling begin at another factor; return a list of the factor after each step."""
    plain, seen = torch.amp.GradScaler, []

    class Spied(plain):
        def update(self, *given) -> None:
            super().update(*given)
            seen.append(self.get_scale())

    monkeypatch.setattr(torch.amp, "GradScaler", functools.partial(Spied, init_scale=scale))
    return seen


@pytest.mark.parametrize("loss", ["cosface", "margin_based", "center"])
@pytest.mark.parametrize("more", [{}, {"microbatch": 3}, {"clip_norm": 0.1}, {"class_sample": 0.6}], ids=str)
def test_it_agrees_with_float32(data, make_job, monkeypatch, loss, more) -> None:
    scales = scaled_from(monkeypatch, 256.0)  # from 65536 on the first steps would overflow
    job = replace(make_job(loss, keep=True, training={"optimizer": "sgd_momentum", "steps": 6, **more}), encoder=MLP)
    whole, half = train(job, data), train(halved(job), data)
    assert set(scales[-6:]) == {256.0}
    assert half.status == "ok", half.reason
    assert half.history != whole.history
    np.testing.assert_allclose(half.history["loss"], whole.history["loss"], rtol=0.02)
    for name, weights in whole.artifacts["weights"].items():
        assert half.artifacts["weights"][name].dtype == np.float32
        np.testing.assert_allclose(half.artifacts["weights"][name], weights, atol=0.02)


def test_small_gradients_do_not_vanish(data, make_job, monkeypatch) -> None:
    """A loss of 1e-7 times its size has gradients that float16 rounds to 0; scaled, they are as in float32."""
    small = {"terms": ["dispersion_term"], "values": {"weight": 1e-7}}
    job = make_job(
        "small", **small, keep=True, training={"optimizer": "sgd", "lr": 1e4, "weight_decay": 0.0, "steps": 3}
    )
    job = replace(job, encoder=MLP)
    before = build_encoder(job, data.dataset).state_dict()
    moved = {}
    for name, made in (("float32", job), ("float16", halved(job))):
        weights = train(made, data).artifacts["weights"]
        moved[name] = np.concatenate([(weights[key] - before[key].numpy()).ravel() for key in before])
    assert np.abs(moved["float32"]).max() > 0
    np.testing.assert_allclose(moved["float16"], moved["float32"], atol=0.1 * np.abs(moved["float32"]).max())
    scaled_from(monkeypatch, 1.0)
    unscaled = train(halved(job), data).artifacts["weights"]
    lost = np.concatenate([(unscaled[key] - before[key].numpy()).ravel() for key in before])
    assert np.abs(lost - moved["float32"]).max() > 0.1 * np.abs(moved["float32"]).max()


def test_steps_that_overflow_are_not_taken(data, make_job, monkeypatch) -> None:
    job = halved(replace(make_job(keep=True, training={"steps": 3}), encoder=MLP))
    before = build_encoder(job, data.dataset).state_dict()
    scales = scaled_from(monkeypatch, 2.0**60)
    result = train(job, data)
    assert result.status == "ok", result.reason
    assert scales == [2.0**59, 2.0**58, 2.0**57]
    for name, tensor in before.items():
        np.testing.assert_array_equal(result.artifacts["weights"][name], tensor.numpy())


@pytest.mark.parametrize("more", [{}, {"class_sample": 0.6, "ema": 0.9}], ids=str)
def test_a_checkpoint_has_the_scale(images, make_job, monkeypatch, tmp_path, more) -> None:
    scaled_from(monkeypatch, 2.0**36)
    job = halved(two(make_job, tmp_path, encoder=CONV)[0], **more)
    at_every_step(ENGINES["alone"], [job], images, monkeypatch, (1, 4, 8))


def test_such_trainings_train_alone(make_job) -> None:
    assert population_key(halved(make_job())) is None
    assert population_key(make_job(values={"precision": "float16"})) is None
    assert population_key(make_job(values={"precision": "bfloat16"})) is not None
    plan = make_plan(validated({**TINY, "training": {**TINY["training"], "precision": "float16"}}, "x"))
    assert "float16" in str(plan.alone)
