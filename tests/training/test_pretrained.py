"""Training starts from weights of one's own, and its input is standardised as theirs was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mlcompare import run_study
from mlcompare.encoders import create_encoder
from mlcompare.errors import DataError, StudyFileError
from mlcompare.export import export_model
from mlcompare.study.config import validated
from mlcompare.study.plan import make_plan
from mlcompare.training import EncoderConfig, restore, train
from mlcompare.training.population import train_population
from mlcompare.training.prepare import Standardizer, prepare
from mlcompare.training.pretrained import load_weights, used_weights
from tests.study.conftest import TINY

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


class Network(torch.nn.Module):
    """A network as other libraries have them: without the linear layer that an encoder of ours ends with."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = torch.nn.Conv2d(1, 3, 3), torch.nn.BatchNorm2d(3)


def in_an_encoder(seed: int) -> torch.nn.Sequential:
    torch.manual_seed(seed)
    return torch.nn.Sequential(Network(), torch.nn.Linear(3, 2))


@pytest.mark.parametrize("before", ["", "0.", "module.", "model."])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("counted", [True, False])
def test_weights_of_a_network_load_however_it_was_saved(tmp_path: Path, before, wrapper, counted) -> None:
    state = {f"{before}{key}": tensor for key, tensor in in_an_encoder(1)[0].state_dict().items()}
    state = {key: tensor for key, tensor in state.items() if counted or "tracked" not in key}
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, tmp_path / "w.pt")
    encoder, wanted = in_an_encoder(2), in_an_encoder(1)
    head = encoder[1].weight.clone()
    load_weights(encoder, tmp_path / "w.pt")
    for key, tensor in wanted[0].state_dict().items():
        assert encoder[0].state_dict()[key].equal(tensor), key
    assert encoder[1].weight.equal(head)


def test_the_first_three_that_do_not_fit_are_named_with_both_shapes(tmp_path: Path) -> None:
    state = in_an_encoder(1)[0].state_dict()
    state["first.weight"] = torch.zeros(7, 1, 3, 3)
    for key in ("norm.weight", "norm.bias", "norm.running_mean"):
        del state[key]
    torch.save({"state_dict": state}, tmp_path / "w.pt")
    encoder = in_an_encoder(2)
    before = {key: tensor.clone() for key, tensor in encoder.state_dict().items()}
    with pytest.raises(DataError) as caught:
        load_weights(encoder, tmp_path / "w.pt")
    shown = r"4 of 9 don't: 0.first.weight (3, 1, 3, 3) (file: (7, 1, 3, 3)), 0.norm.weight (3,) (file: none), "
    assert f"{shown}0.norm.bias (3,) (file: none); name the encoder" in str(caught.value)
    assert "running_mean" not in str(caught.value)
    assert all(tensor.equal(before[key]) for key, tensor in encoder.state_dict().items()), "all or nothing"


@pytest.mark.parametrize("content", [{"state_dict": {"a": 1}}, {"epoch": 3}, [1], {"model": {}}])
def test_what_is_no_state_dict_is_told(tmp_path: Path, content) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(DataError, match="must be a readable state dict"):
        load_weights(in_an_encoder(2), tmp_path / "w.pt")


class Holder(torch.nn.Linear):
    """A module that is saved whole."""


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (lambda path: torch.save(Holder(2, 2), path), "a pickle of Python objects"),
        (lambda path: path.write_bytes(b"efgh"), "a file that torch can't read"),
        (lambda path: path.write_bytes(b""), "a file that torch can't read"),
        (lambda path: torch.save([1], path), "a state dict maps names to tensors"),
    ],
)
def test_what_can_not_be_read_is_told_in_a_line(tmp_path: Path, write, told) -> None:
    write(tmp_path / "w.pt")
    with pytest.raises(DataError, match=told) as caught:
        load_weights(in_an_encoder(2), tmp_path / "w.pt")
    assert len(str(caught.value).splitlines()) == 1
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_weights_that_diverged_are_refused(tmp_path: Path, odd) -> None:
    state = in_an_encoder(1)[0].state_dict()
    state["norm.weight"][1] = odd
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(DataError, match=r"must be finite, got NaN or infinity in norm\.weight; take"):
        load_weights(in_an_encoder(2), tmp_path / "w.pt")


def test_a_file_of_other_names_shows_them(tmp_path: Path) -> None:
    torch.save({"x.y": torch.zeros(2)}, tmp_path / "w.pt")
    with pytest.raises(DataError, match=r"the file has x.y \(2,\)"):
        load_weights(in_an_encoder(2), tmp_path / "w.pt")


def test_what_is_taken_from_a_file_is_said(tmp_path: Path) -> None:
    encoder, path = in_an_encoder(1), tmp_path / "w.pt"
    state = encoder.state_dict()
    torch.save(state, path)
    assert used_weights(encoder, path) == f"{len(state)} of {len(state)} tensors from {path}"
    last = [key for key in state if key.startswith("1.")]
    torch.save({**{key: tensor for key, tensor in state.items() if key not in last}, "fc": torch.zeros(3)}, path)
    said = used_weights(encoder, path)
    assert said.startswith(f"{len(state) - len(last)} of {len(state)} tensors")
    assert f"{', '.join(last)} begin" in said
    assert said.endswith("fc of the file not used")


def study(weights: Path, **encoder: object) -> dict:
    given = {"name": "conv", "embedding_dim": 3, "channels": [4, 8], "weights": str(weights), **encoder}
    return {**TINY, "encoder": given, "losses": {"contrastive": None}}


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("engine", ["alone", "population"])
def test_a_study_says_what_its_weights_expect_of_their_input(weights: Path, frozen: bool, engine: str) -> None:
    told = {"input_mean": [100.0], "input_std": [50.0]}
    plans = [make_plan(validated(study(weights, frozen=frozen, **more), "study")) for more in (told, {})]
    jobs = [plan.final_jobs("contrastive", 0, {"lr": 0.01})[0] for plan in plans]
    run = train_population if engine == "population" else lambda jobs, data: [train(jobs[0], data)]
    found = [run([job], plan.data)[0] for job, plan in zip(jobs, plans)]
    assert all(result.status == "ok" for result in found)
    assert found[0].metrics != found[1].metrics
    if frozen:
        assert not np.allclose(plans[0].data.dataset.samples, plans[1].data.dataset.samples)
        return
    standardize = prepare(jobs[0], plans[0].data).standardize
    assert (standardize.mean.item(), standardize.inverse.item()) == (100.0, pytest.approx(0.02))
    assert plans[0].losses["contrastive"].space["lr"].high < plans[1].losses["contrastive"].space["lr"].high


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"input_mean": [1.0]}, "go together"),
        ({"input_mean": [1.0, 2.0], "input_std": [1.0]}, "a number for each channel"),
        ({"input_mean": [1.0], "input_std": [0.0]}, "greater than 0"),
        ({"input_mean": [1.0, 2.0], "input_std": [1.0, 1.0]}, "as many channels, got 2 for 1"),
    ],
)
def test_statistics_that_can_t_be_are_refused_in_the_plan(weights: Path, given: dict, said: str) -> None:
    with pytest.raises(StudyFileError, match=said):
        make_plan(validated(study(weights, **given), "study"))


def test_an_exported_model_is_fed_by_them(weights: Path, tmp_path: Path) -> None:
    told = study(weights, input_mean=[100.0], input_std=[50.0])
    run_study(told, tmp_path / "store", executor="in-process")
    card = export_model(tmp_path / "store", "contrastive", tmp_path / "model", far=0.1).card
    assert card["input"]["mean"] == [100.0]
    assert card["input"]["std"] == [pytest.approx(50.0)]
