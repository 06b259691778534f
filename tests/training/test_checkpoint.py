"""A training that is killed goes on from its checkpoint, and nothing of it shows in the numbers."""

from __future__ import annotations

import errno
import json
import os
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mlcompare.encoders import register_encoder
from mlcompare.encoders.base import ENCODERS
from mlcompare.training import EncoderConfig, TrainingJob, TrainingResult, checkpoint, train
from mlcompare.training.checkpoint import Checkpoint, discard, make_room, sweep
from mlcompare.training.population import train_population
from mlcompare.training.state import module_state, restore_module

CONV = EncoderConfig("conv", 6, {"channels": [4, 8]})  # batch norm
ENGINES = {"alone": lambda jobs, data: [train(job, data) for job in jobs], "together": train_population}
EVERY_STEP = 1e-9  # minutes


@pytest.fixture(params=ENGINES)
def engine(request):
    return ENGINES[request.param]


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch) -> None:
    monkeypatch.setattr(checkpoint, "_said", set())


@pytest.fixture
def dropping():
    """An encoder that draws from torch's own stream, and counts in a plain attribute and a buffer that isn't saved."""

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(()), persistent=False)
            self.calls = 0

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            if self.training:
                self.calls += 1
                self.seen += 1
            return inputs * (1 + 0.01 * self.calls + 0.01 * self.seen)

    @register_encoder("dropping", takes="any")
    def build(input_shape, embedding_dim):
        """Dropout."""
        return nn.Sequential(nn.Flatten(), nn.Dropout(0.3), Counting(), nn.Linear(int(np.prod(input_shape)), 4))

    yield EncoderConfig("dropping", 4)
    ENCODERS._records.pop("dropping")


def two(make_job, folder: Path, loss="cosface", minutes: float = EVERY_STEP, **changes) -> list[TrainingJob]:
    training = {"steps": 8, "evaluations": 4, **changes.pop("training", {}), "checkpoint_minutes": minutes}
    encoder = changes.pop("encoder", EncoderConfig("linear", 4))
    jobs = [make_job(loss, seed=s, fold=s, training=training, keep=True, folder=str(folder), **changes) for s in (0, 1)]
    return [replace(job, encoder=encoder) for job in jobs]


class Killed(BaseException):
    """Nothing in a training catches it."""


def killed_at(monkeypatch, moment: int) -> list[int]:
    """Have a checkpoint after ``moment`` steps be the last thing that happens; return a list that counts the steps."""
    steps: list[int] = []
    save = Checkpoint.save

    def due(self) -> bool:
        steps.append(1)
        return self._path is not None and len(steps) == moment

    def spied(self, state) -> None:
        save(self, state)
        raise Killed

    monkeypatch.setattr(Checkpoint, "due", due)
    monkeypatch.setattr(Checkpoint, "save", spied)
    return steps


def assert_same(one: TrainingResult, other: TrainingResult) -> None:
    for name in ("status", "reason", "metrics", "per_class", "history", "curve", "step", "health"):
        assert repr(getattr(one, name)) == repr(getattr(other, name)), name
    assert (one.artifacts is None) == (other.artifacts is None)
    for key, found in (one.artifacts or {}).items():
        for name, array in found.items() if isinstance(found, dict) else [(key, found)]:
            wanted = other.artifacts[key][name] if isinstance(found, dict) else other.artifacts[key]
            np.testing.assert_array_equal(array, wanted, err_msg=f"{key} {name}")


def at_every_step(engine, jobs, data, monkeypatch, moments) -> None:
    """Kill one training after the other of ``jobs``, each after so many steps, and go on: nothing is different."""
    whole = engine([replace(job, folder=None) for job in jobs], data)
    for moment in moments:
        with monkeypatch.context() as patch:
            before = killed_at(patch, moment)
            with pytest.raises(Killed):
                engine(jobs, data)
        assert len(before) == moment
        with monkeypatch.context() as patch:
            after = killed_at(patch, 10**9)
            results = engine(jobs, data)
        most = jobs[0].training.steps * (1 if engine is train_population else len(jobs))
        assert len(before) + len(after) <= most, "it did not begin anew"
        for one, other in zip(results, whole):
            assert_same(one, other)
        for file in Path(str(jobs[0].folder)).iterdir():
            file.unlink()


CASES = [
    ("cosface", {"augment": {"flip": 0.5, "shift": 1}}),
    ("margin_based", {"schedule": "cosine", "warmup": 0.3, "select": "best"}),  # noise of its own; two kinds of weights
    ("adaface", {"optimizer": "sgd_momentum"}),  # running state
    ("center", {"optimizer": "rmsprop", "sampler": "epoch"}),
    ("unitsface", {"optimizer": "adamw"}),  # a memory of samples, and a threshold that starts where they say
]


@pytest.mark.parametrize(("loss", "training"), CASES, ids=[loss for loss, _ in CASES])
def test_interrupted_after_any_step(images, make_job, engine, monkeypatch, tmp_path, loss, training) -> None:
    jobs = two(make_job, tmp_path, loss, encoder=CONV, training=training, split="test")
    at_every_step(engine, jobs, images, monkeypatch, range(1, 9))


def test_with_all_that_fine_tuning_adds(images, make_job, monkeypatch, tmp_path) -> None:
    training = {"ema": 0.9, "layer_decay": 0.7, "clip_norm": 0.5, "microbatch": 4, "select": "best"}
    jobs = two(make_job, tmp_path, encoder=replace(CONV, freeze=("0",), batch_norm="eval"), training=training)[:1]
    at_every_step(ENGINES["alone"], jobs, images, monkeypatch, (1, 4, 7, 8))


def test_in_any_stage_and_between_two_looks(data, make_job, engine, monkeypatch, tmp_path) -> None:
    """Sixty steps in two stages: looks after 25 steps, the optimiser begins anew in the second stage."""
    stages = {"terms": ["softmax", "contrastive"], "kind": "stages"}
    jobs = two(make_job, tmp_path, "then", **stages, training={"steps": 60, "evaluations": 3, "select": "best"})
    at_every_step(engine, jobs, data, monkeypatch, (1, 24, 25, 26, 29, 30, 31, 55, 59, 60))


def test_where_a_traced_program_would_be_written_anew(data, make_job, monkeypatch, tmp_path) -> None:
    jobs = two(make_job, tmp_path, training={"steps": 120})
    at_every_step(train_population, jobs, data, monkeypatch, (1, 39, 60, 119))


def test_members_that_have_left_stay_away(data, make_job, monkeypatch, tmp_path) -> None:
    """One member diverges and leaves the stack, another is stopped: both are as they were, and so are the others."""
    made = two(make_job, tmp_path, training={"steps": 60, "evaluations": 6, "optimizer": "sgd"})
    values = [{"lr": 0.01}, {"lr": 1e38}, {"lr": 0.02}, {"lr": 0.03}, {"lr": 0.04}]
    jobs = [replace(made[0], hyperparameters=value, trial=trial) for trial, value in enumerate(values)]
    jobs[2] = replace(jobs[2], least=((20, 2.0),), raced=1)
    whole = train_population([replace(job, folder=None) for job in jobs], data)
    assert [result.status for result in whole] == ["ok", "failed", "stopped", "ok", "ok"]
    at_every_step(train_population, jobs, data, monkeypatch, (5, 20, 24, 25, 26, 59))


def test_what_torch_draws_and_what_parts_count(data, make_job, dropping, monkeypatch, tmp_path) -> None:
    jobs = two(make_job, tmp_path, encoder=dropping)[:1]
    at_every_step(ENGINES["alone"], jobs, data, monkeypatch, range(1, 9))


def test_dropout_draws_by_the_seed_and_gives_torchs_stream_back(data, make_job, dropping, tmp_path) -> None:
    job = replace(two(make_job, tmp_path, encoder=dropping)[0], folder=None)
    torch.manual_seed(1)
    one = train(job, data)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    other = train(job, data)
    assert torch.get_rng_state().equal(before)
    assert_same(one, other)
    assert train(replace(job, random_state=5), data).history != one.history


def test_the_time_and_memory_before_count(data, make_job, engine, monkeypatch, tmp_path) -> None:
    jobs = two(make_job, tmp_path)
    killed_at(monkeypatch, 3)
    with pytest.raises(Killed):
        engine(jobs, data)
    monkeypatch.undo()
    load = Checkpoint.load

    def older(self):
        state = load(self)
        if state is not None:
            for known in [member["result"] for member in state["members"]] if "members" in state else [state]:
                known["seconds"], known["peak_memory"] = 3600.0, 2**60
        return state

    monkeypatch.setattr(Checkpoint, "load", older)
    result = engine(jobs, data)[0]
    assert 3600 < result.seconds < 3700
    assert result.peak_memory == 2**60


def one_file(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


@pytest.fixture
def interrupted(data, make_job, engine, monkeypatch, tmp_path):
    """Jobs that were killed after three steps, and what they would have given."""
    jobs = two(make_job, tmp_path)
    jobs = jobs if engine is train_population else jobs[:1]
    whole = engine([replace(job, folder=None) for job in jobs], data)
    with monkeypatch.context() as patch:
        killed_at(patch, 3)
        with pytest.raises(Killed):
            engine(jobs, data)
    return jobs, whole


def damage(file: Path, how: str) -> None:
    content = bytearray(file.read_bytes())
    if how == "flipped":
        content[len(content) // 2] ^= 1
    file.write_bytes({"empty": b"", "cut": content[:-100], "flipped": content, "garbage": b"x" * 999}[how])


@pytest.mark.parametrize("how", ["empty", "cut", "flipped", "garbage"])
def test_a_broken_checkpoint_begins_anew_and_says_so_once(data, engine, interrupted, tmp_path, how, capfd) -> None:
    jobs, whole = interrupted
    for _ in range(2):
        damage(one_file(tmp_path), how)
        for one, other in zip(engine(jobs, data), whole):
            assert_same(one, other)
    said = capfd.readouterr().err
    assert said.count("can't be read") == 1
    assert said.count("\n") == 1


def test_one_that_does_not_fit_begins_anew(data, engine, interrupted, monkeypatch, capfd) -> None:
    """Whatever a plug-in's code has become since: it is half restored by then, and nothing of it stays."""
    jobs, whole = interrupted
    load = Checkpoint.load

    def other_weights(self):
        state = load(self)
        if state is not None and "members" in state:
            state["stage"]["optimizer"]["steppers"] = []
        elif state is not None:
            state["stage"]["optimizer"]["param_groups"] = []
        return state

    monkeypatch.setattr(Checkpoint, "load", other_weights)
    for one, other in zip(engine(jobs, data), whole):
        assert_same(one, other)
    assert capfd.readouterr().err.count("it begins anew") == 1


@pytest.mark.parametrize("change", ["weights", "data", "torch", "steps"])
def test_one_of_another_training_is_left_aside(images, data, engine, interrupted, monkeypatch, change, capfd) -> None:
    jobs, _ = interrupted
    if change == "torch":
        monkeypatch.setattr(torch, "__version__", "0.0")
    elif change == "data":
        data = replace(data, dataset=replace(data.dataset, samples=data.dataset.samples + 1, fingerprint=""))
    else:
        new = {"steps": 9} if change == "steps" else {"weight_decay": 0.1}
        jobs = [replace(job, training=job.training.replaced(**new)) for job in jobs]
    wanted = engine([replace(job, folder=None) for job in jobs], data)
    for one, other in zip(engine(jobs, data), wanted):
        assert_same(one, other)
    assert capfd.readouterr().err == ""


def test_how_often_is_no_part_of_the_training(data, engine, interrupted, monkeypatch) -> None:
    jobs, whole = interrupted
    rarer = [replace(job, training=job.training.replaced(checkpoint_minutes=9)) for job in jobs]
    for one, other in zip(engine(rarer, data), whole):
        assert_same(one, other)
    state = Checkpoint(rarer, data).load()
    assert state is not None
    assert state["stage"]["steps"] == 3


def test_values_read_back_from_a_journal_are_the_same(data, make_job, tmp_path) -> None:
    job = replace(two(make_job, tmp_path)[0], hyperparameters={"margin": 0.1, "milestones": (0.5, 0.8)})
    read = replace(job, hyperparameters=json.loads(json.dumps({"milestones": (0.5, 0.8), "margin": 0.1})))
    Checkpoint([job], data).save({"step": 3})
    assert Checkpoint([read], data).load() is not None
    assert Checkpoint([replace(read, hyperparameters={"margin": 0.2})], data).load() is None


def test_a_full_disk_loses_nothing_and_is_said_once(data, make_job, engine, monkeypatch, tmp_path, capfd) -> None:
    jobs = two(make_job, tmp_path)
    jobs = jobs if engine is train_population else jobs[:1]
    whole = engine([replace(job, folder=None) for job in jobs], data)
    replaced = Path.replace
    times = []

    def full(self, target):
        times.append(target)
        if len(times) == 3:
            return replaced(self, target)  # room for once
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", full)
    for one, other in zip(engine(jobs, data), whole):
        assert_same(one, other)
    assert len(times) > 5
    said = capfd.readouterr().err
    assert said.startswith("note: no checkpoint of trial/cosface/0/fold0")
    assert "No space left on device" in said
    assert said.count("\n") == 1
    state = Checkpoint(jobs, data).load()
    assert state is not None
    assert state["stage"]["steps"] == 3, "the last that could be written"
    assert len(list(tmp_path.iterdir())) == 1, "nothing half-written is left"


@pytest.mark.parametrize("after", [0, 3, 20])
def test_a_disk_that_fills_up_while_torch_writes(after, data, make_job, monkeypatch, tmp_path, capfd) -> None:
    """What is said is what the disk said, once for all attempts, and not what torch makes of it."""
    job = two(make_job, tmp_path)[0]
    job = replace(job, training=job.training.replaced(checkpoint_minutes=1e-9))
    opened = checkpoint.whole_file

    class Full:
        def __init__(self, file) -> None:
            self.file, self.writes = file, 0

        def write(self, data) -> int:
            self.writes += 1
            if self.writes > after:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self.file.write(data)

        def flush(self) -> None:
            self.file.flush()

    @contextmanager
    def whole_file(path):
        with opened(path) as file:
            yield Full(file)

    monkeypatch.setattr(checkpoint, "whole_file", whole_file)
    assert train(job, data).status == "ok"
    said = capfd.readouterr().err
    assert said.count("goes on without") == 1
    assert f"({os.strerror(errno.ENOSPC)})" in said
    assert not list(tmp_path.rglob("*.tmp"))


def test_it_is_kept_as_often_as_asked(data, make_job, monkeypatch, tmp_path) -> None:
    clock = [0.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: clock[0])
    kept = Checkpoint(two(make_job, tmp_path, minutes=0.5), data)
    clock[0] = 29.0
    assert not kept.due()
    clock[0] = 30.0
    assert kept.due()
    kept.save({"step": 1})
    assert not kept.due()
    clock[0] = 60.0
    assert kept.due()
    clock[0] = 1e9
    assert not Checkpoint(two(make_job, tmp_path, minutes=0), data).due()
    assert not Checkpoint([replace(two(make_job, tmp_path)[0], folder=None)], data).due()
    trained_elsewhere = replace(two(make_job, tmp_path)[0], trainer="mine")
    assert not Checkpoint([trained_elsewhere], data).due()


def test_they_go_when_they_are_no_longer_needed(data, engine, interrupted, tmp_path) -> None:
    jobs, _ = interrupted
    half = tmp_path / f".{one_file(tmp_path).name}.17.tmp"
    half.write_bytes(b"half")
    make_room(tmp_path)
    assert not half.exists()
    discard(jobs)
    assert list(tmp_path.iterdir()) == []
    own = tmp_path / "deep" / "own.txt"
    make_room(own.parent)
    own.write_text("a trainer's")
    (own.parent / "x.checkpoint").write_bytes(b"of a training that an extended study no longer asks for")
    sweep(own.parent)
    assert [path.name for path in own.parent.iterdir()] == ["own.txt"]
    own.unlink()
    sweep(own.parent)
    assert not tmp_path.exists()


def test_no_code_is_run_by_a_checkpoint(data, make_job, tmp_path, capfd) -> None:
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "evil"),)

    job = two(make_job, tmp_path)[0]
    kept = Checkpoint([job], data)
    kept.save({"x": Evil()})
    assert kept.load() is None
    assert not (tmp_path / "evil").exists()
    assert "begins anew" in capfd.readouterr().err


def test_a_state_is_of_a_module_built_alike() -> None:
    with pytest.raises(ValueError, match="other tensors"):
        restore_module(nn.Linear(3, 2), module_state(nn.Linear(1, 2)))
