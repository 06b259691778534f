"""What does not learn does not move, in either engine, with any optimiser."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from mlcompare import register_encoder
from mlcompare.encoders import ENCODERS
from mlcompare.training import EncoderConfig, restore, train
from mlcompare.training.optimizers import OPTIMIZERS
from mlcompare.training.population import train_population


@pytest.fixture
def half_frozen():
    @register_encoder("half_frozen", takes="features")
    def build(input_shape: tuple[int, ...], embedding_dim: int) -> nn.Module:
        """A fixed layer below a learning one, and one that nothing depends on."""
        net = nn.Sequential(nn.Linear(*input_shape, 6), nn.ReLU(), nn.Linear(6, embedding_dim))
        net[0].requires_grad_(False)
        net.register_parameter("unused", nn.Parameter(torch.ones(3)))
        return net

    yield "half_frozen"
    ENCODERS._records.pop("half_frozen")


@pytest.mark.parametrize("engine", ["alone", "population"])
@pytest.mark.parametrize("optimizer", [spec.name for spec in OPTIMIZERS.records(provider="native")])
def test_fixed_and_unused_weights_stay(data, make_job, half_frozen: str, optimizer: str, engine: str) -> None:
    training = {"optimizer": optimizer, "weight_decay": 0.5, "steps": 5}
    jobs = [
        replace(make_job(seed=seed, training=training), keep=True, encoder=EncoderConfig(half_frozen, 4))
        for seed in (0, 1)
    ]
    results = train_population(jobs, data) if engine == "population" else [train(job, data) for job in jobs]
    for job, result in zip(jobs, results):
        before = restore(replace(job, training=job.training.replaced(steps=1, lr=1e-12, weight_decay=0.0)), data,
                         train(replace(job, training=job.training.replaced(steps=1, lr=1e-12, weight_decay=0.0),
                                       hyperparameters={}), data)).encoder.state_dict()  # fmt: skip
        after = result.artifacts["weights"]
        for name in ("0.weight", "0.bias", "unused"):
            np.testing.assert_allclose(after[name], before[name], atol=1e-6, err_msg=name)
        assert not np.allclose(after["2.weight"], before["2.weight"], atol=1e-5), "the rest learns"


@pytest.mark.parametrize("engine", ["alone", "population"])
@pytest.mark.parametrize("optimizer", [spec.name for spec in OPTIMIZERS.records(provider="native")])
@pytest.mark.parametrize("learn", [True, False])
def test_beta_moves_where_it_may(data, make_job, optimizer: str, engine: str, learn: bool) -> None:
    values = {"learn_beta": learn, "lr": 0.05}
    jobs = [
        replace(make_job("margin_based", seed=seed, training={"optimizer": optimizer, "steps": 8}, values=values),
                keep=True) for seed in (0, 1)
    ]  # fmt: skip
    results = train_population(jobs, data) if engine == "population" else [train(job, data) for job in jobs]
    for result in results:
        moved = abs(float(np.ravel(result.artifacts["loss.boundary"])[0]) - 1.2)
        assert (moved > 1e-4) if learn else (moved < 1e-6), moved


def test_a_training_leaves_the_thread_count_as_it_found_it(data, make_job) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        train(replace(make_job(), threads=1), data)
        train_population([make_job(), make_job(seed=1)], data)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
