"""However a population's step is run, its numbers are the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap
from torch.fx.experimental import proxy_tensor

from mlcompare.training import EncoderConfig, TrainingJob
from mlcompare.training import step as steps
from mlcompare.training.population import train_population
from mlcompare.training.step import captured, create_step, eager, traced
from tests.training.test_population import NATIVE

ENCODERS = {"linear": EncoderConfig("linear", 6), "conv": EncoderConfig("conv", 6, {"channels": [4, 8]})}
WAITING = ("aten._local_scalar_dense", "aten.nonzero", "aten.item", "aten.masked_select", "aten._unique")
on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def kept_programs(monkeypatch) -> list[torch.fx.GraphModule]:
    """Return the list to which every traced program will be added."""
    programs, make = [], proxy_tensor.make_fx

    def keeping(function):
        def trace(*args):
            programs.append(make(function)(*args))
            return programs[-1]

        return trace

    monkeypatch.setattr(proxy_tensor, "make_fx", keeping)
    return programs


def members(make_job, loss: str, encoder: str, training: dict, **changes) -> list[TrainingJob]:
    jobs = [
        make_job(loss, seed=number, fold=number % 2, values={"lr": lr}, training=dict(training), **changes)
        for number, lr in enumerate((0.003, 0.01, 0.03))
    ]
    return [replace(job, trial=job.random_state, encoder=ENCODERS[encoder]) for job in jobs]


def numbers(jobs, data) -> list[tuple]:
    return [(r.status, r.history, r.metrics, r.per_class) for r in train_population(jobs, data)]


@pytest.mark.parametrize("loss", NATIVE)
def test_a_traced_population_trains_to_the_same_bits(data, make_job, monkeypatch, loss: str) -> None:
    jobs = members(make_job, loss, "linear", {"steps": 30, "warmup": 0.2})
    as_written = numbers(jobs, data)
    programs = kept_programs(monkeypatch)
    monkeypatch.setattr(steps, "TRACED_FROM", 1)
    assert numbers(jobs, data) == as_written
    (program,) = programs
    called = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert "aten.mm.default" in called or "aten.bmm.default" in called
    assert not {name for name in called if name.startswith(WAITING)}  # no operation waits for the device,
    assert all(node.op != "get_attr" for node in program.graph.nodes)  # and nothing of the first batch is kept


@pytest.mark.parametrize("loss", ["cosface", "center", "margin_based", "adaface"])
def test_batch_norm_and_running_state_of_a_traced_population(images, make_job, monkeypatch, loss: str) -> None:
    jobs = members(make_job, loss, "conv", {"steps": 6, "augment": {"flip": 0.5, "shift": 1}})
    as_written = numbers(jobs, images)
    monkeypatch.setattr(steps, "TRACED_FROM", 1)
    assert numbers(jobs, images) == as_written


def test_each_stage_of_a_loss_is_traced_anew(data, make_job, monkeypatch) -> None:
    jobs = members(make_job, "two", "linear", {"steps": 8}, terms=["softmax", "trihard"], kind="stages")
    as_written = numbers(jobs, data)
    monkeypatch.setattr(steps, "TRACED_FROM", 1)
    assert numbers(jobs, data) == as_written


def counting_population(device: str = "cpu"):
    """Two linear layers behind batch norm; state and batch for the three ways of running a step."""
    torch.manual_seed(0)
    encoders = [nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4)).to(device) for _ in range(2)]
    parameters, buffers = stack_module_state(encoders)

    def one(encoder, loss, inputs, targets):
        return (loss[1]["scale"] * functional_call(encoders[0], encoder, (inputs,)) - targets).square().mean()

    loss = ({}, {"scale": torch.tensor([1.0, 3.0], device=device)})
    batches = [torch.randn(2, 2, 6, 5, device=device) for _ in range(4)]
    return vmap(one), (parameters, buffers), loss, [(b[0], b[1, :, :, :4]) for b in batches]


def copied(state):
    return tuple({n: t.detach().clone().requires_grad_(t.requires_grad) for n, t in part.items()} for part in state)


def test_making_a_traced_step_takes_no_step() -> None:
    forward, encoder, loss, batches = counting_population()
    before = copied(encoder)
    step = traced(forward, encoder, loss, batches[0])
    assert all(torch.equal(encoder[1][name], before[1][name]) for name in before[1])
    step(*batches[0])
    assert encoder[1]["1.num_batches_tracked"].tolist() == [1, 1]


def test_a_traced_step_reads_the_state_of_the_moment() -> None:
    forward, encoder, loss, batches = counting_population()
    step, written = traced(forward, encoder, loss, batches[0]), eager(forward, encoder, loss)
    with torch.no_grad():
        encoder[0]["0.weight"].mul_(2.0)
        loss[1]["scale"].fill_(0.5)
    (losses, gradients), (expected, by_hand) = step(*batches[1]), written(*batches[1])
    assert torch.equal(losses, expected)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(gradients, by_hand))


def test_a_step_that_a_foreign_tensor_enters_is_run_as_it_is_written(monkeypatch) -> None:
    forward, encoder, loss, batches = counting_population()
    outside = torch.tensor(1.0)
    monkeypatch.setattr(steps, "TRACED_FROM", 1)
    step = create_step(lambda *args: outside * forward(*args), encoder, loss, batches[0], steps=10)
    before, _ = step(*batches[0])
    outside.fill_(3.0)
    torch.testing.assert_close(step(*batches[0])[0], 3.0 * before)


@on_a_gpu
def test_a_captured_step_is_the_step_as_written() -> None:
    forward, encoder, loss, batches = counting_population("cuda")
    other = copied(encoder)
    program = traced(forward, encoder, loss, batches[0])
    replay = captured(program, [*encoder[1].values(), *loss[1].values()], batches[0])
    written = eager(forward, other, loss)
    for batch in batches:
        (losses, gradients), (expected, by_hand) = replay(*batch), written(*batch)
        torch.testing.assert_close(losses, expected)
        for ours, theirs in zip(gradients, by_hand):
            torch.testing.assert_close(ours, theirs)
        with torch.no_grad():
            for state in (encoder, other):
                state[0]["0.weight"].mul_(1.1)
    for name, buffer in encoder[1].items():
        torch.testing.assert_close(buffer, other[1][name])


@on_a_gpu
@pytest.mark.parametrize("loss", ["cosface", "trihard", "margin_based", "center"])
def test_a_population_on_a_gpu_agrees_with_itself_captured(images, make_job, monkeypatch, loss: str) -> None:
    jobs = members(make_job, loss, "conv", {"steps": 6}, device="cuda")
    as_written = train_population(jobs, images)
    monkeypatch.setattr(steps, "TRACED_FROM", 1)
    for ours, theirs in zip(train_population(jobs, images), as_written):
        assert (ours.status, ours.reason) == (theirs.status, theirs.reason)
        assert ours.history["loss"] == pytest.approx(theirs.history["loss"], rel=2e-3, abs=1e-5)
