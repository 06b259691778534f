"""Training starts from weights of one's own, and its input is standardised as theirs was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mlcompare.encoders import create_encoder
from mlcompare.errors import DataError
from mlcompare.training import EncoderConfig, restore, train
from mlcompare.training.population import train_population
from mlcompare.training.prepare import Standardizer, prepare

CONV = {"channels": (4, 8)}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.save(create_encoder("conv", input_shape=(1, 8, 8), embedding_dim=5, seed=9, **CONV).state_dict(),
               tmp_path / "own.pt")  # fmt: skip
    return tmp_path / "own.pt"


@pytest.mark.parametrize("engine", ["alone", "population"])
def test_training_starts_from_them(images, make_job, weights: Path, engine: str) -> None:
    encoder = EncoderConfig("conv", 3, CONV, str(weights))
    jobs = [
        replace(make_job(seed=seed, training={"steps": 1, "lr": 1e-9}), keep=True, encoder=encoder) for seed in (0, 1)
    ]
    results = train_population(jobs, images) if engine == "population" else [train(job, images) for job in jobs]
    state = torch.load(weights, weights_only=True)
    for job, result in zip(jobs, results):
        assert result.status == "ok", result.reason
        found = restore(job, images, result).encoder.state_dict()
        np.testing.assert_allclose(found["0.weight"], state["0.weight"], atol=1e-5)
        assert found["9.weight"].shape == (3, 32), "a head of another size keeps its first weights"


def test_an_encoder_that_says_its_statistics_is_fed_them(images, make_job, monkeypatch) -> None:
    job = replace(make_job(), encoder=EncoderConfig("conv", 3, CONV))
    measured = prepare(job, images).standardize
    monkeypatch.setattr(torch.nn.Module, "statistics", ([10.0], [2.0]), raising=False)
    told = prepare(job, images).standardize
    assert (told.mean.item(), told.inverse.item()) == (10.0, 0.5)
    assert not torch.equal(measured.mean, told.mean)
    monkeypatch.setattr(torch.nn.Module, "statistics", ([1.0, 2.0], [1.0, 1.0]), raising=False)
    with pytest.raises(ValueError, match="as many channels, got 2 for 1"):
        Standardizer.of(torch.nn.Identity(), images.dataset, np.arange(4), "cpu")


def test_what_does_not_fit_is_named_with_shapes(images, make_job, weights: Path) -> None:
    job = replace(make_job(), encoder=EncoderConfig("conv", 3, {"channels": (6, 8)}, str(weights)))
    with pytest.raises(DataError, match=r"0.weight \(6, 1, 3, 3\) \(file: \(4, 1, 3, 3\)\), 1.weight"):
        prepare(job, images)
