"""Workers are spread over devices, and no process but theirs touches one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mlcompare.errors import InvalidValueError, StoreError
from mlcompare.execution import embedding, timing
from mlcompare.execution.apart import DiedError, run_apart
from mlcompare.execution.devices import cpu_count, resolve_devices
from mlcompare.execution.executors import InProcessExecutor, create_executor
from mlcompare.execution.process_executor import PRELOAD, ProcessExecutor
from mlcompare.search.proposals import default_values
from mlcompare.study import engine, make_plan, run_study
from mlcompare.study.config import validated
from mlcompare.study.coordinator import Coordinator
from mlcompare.study.store import Store
from mlcompare.training import TrainingData, train
from mlcompare.training.checkpoint import Checkpoint

HERE = ("cpu", "cpu:0")  # two names of one device, which stand in for two devices


@pytest.fixture
def three(monkeypatch) -> None:
    """A machine with three CUDA devices, to be counted and not to be used."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


@pytest.fixture
def plan(tiny: dict):
    return make_plan(validated(tiny, "study"))


def jobs_of(plan) -> list:
    return [job for loss in plan.losses for job in plan.trial_jobs(loss, 0, default_values(plan.losses[loss].space))]


def journal(store: Path, kind: str) -> list[dict]:
    lines = (store / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    return [record for record in map(json.loads, lines) if record["type"] == kind]


# ---------------------------------------------------------------------- names


@pytest.mark.usefixtures("three")
def test_devices_by_name_or_all() -> None:
    assert resolve_devices("all") == ("cuda:0", "cuda:1", "cuda:2")
    assert resolve_devices("cuda:2, cuda:0") == resolve_devices(["cuda:2", "cuda:0"]) == ("cuda:2", "cuda:0")
    assert resolve_devices("cpu") == ("cpu",)
    assert resolve_devices(None) == ("cuda",)
    assert resolve_devices(None, "cpu") == ("cpu",)


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("named", "device", "told"),
    [
        ("cuda:3", "auto", "got cuda:3; here: cpu, cuda:0, cuda:1, cuda:2"),
        ("gpu", "auto", "got gpu; here: cpu"),
        ("", "auto", "got nothing; here: cpu"),
        ("cuda:1,all", "auto", "got all; here: "),
        ("cuda", "auto", "got cuda; here: "),
        ("cuda:1,cuda:1", "auto", "named once, got cuda:1,cuda:1; name it once"),
        ("cuda:1,cpu", "auto", "devices of one kind"),
        ([], "auto", "devices of one kind, as rounding differs, got nothing"),
        ("cuda:1", "cuda", "it is `--device` or `--devices`, got cuda and cuda:1"),
        (None, "cuda:1", "must be auto, cpu or cuda, got cuda:1; use --devices"),
    ],
)
def test_what_is_not_there_is_refused_with_what_there_is(named: Any, device: str, told: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        resolve_devices(named, device)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_needs_a_cuda_device(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(InvalidValueError, match="none found; leave it out"):
        resolve_devices("all")


# ---------------------------------------------------------------------- workers


def test_one_worker_on_each_device_by_default(plan, tmp_path: Path) -> None:
    def workers(devices: tuple[str, ...], count: int | None = None, **more) -> Counter:
        executor = create_executor(
            "auto", plan.data, workers=count, folder=tmp_path, device=devices[0], devices=devices, **more
        )
        executor.close()
        return Counter(place for (place,) in executor._places) if isinstance(executor, ProcessExecutor) else Counter()

    pair = ("cuda:1", "cuda:3")
    assert workers(pair) == {"cuda:1": 1, "cuda:3": 1}
    assert workers(pair, 5) == {"cuda:1": 3, "cuda:3": 2}
    assert workers(("cuda:1",)) == {"cuda:1": 1}
    assert workers(("cpu",), 3) == {"cpu": 3}
    assert workers(("cpu",), threads=cpu_count()) == {}, "one training with all threads runs here"
    with pytest.raises(InvalidValueError, match=r"each of `--devices` needs a worker, got 1 for cuda:1, cuda:3"):
        workers(pair, 1)
    with pytest.raises(InvalidValueError, match="one process trains on one device"):
        create_executor("in-process", plan.data, workers=None, folder=tmp_path, device="cuda:1", devices=pair)
    with pytest.raises(InvalidValueError, match="Ray chooses the devices, got cuda:1; --gpus-per-job"):
        create_executor("ray", plan.data, workers=None, folder=tmp_path, device="cuda:1", devices=("cuda:1",))


def test_jobs_run_where_their_worker_is_with_the_same_numbers(plan, tmp_path: Path) -> None:
    jobs = jobs_of(plan)
    executor = ProcessExecutor(plan.data, workers=2, folder=tmp_path, devices=[(device,) for device in HERE])
    for job in jobs[:2]:
        executor.submit((job,))
    assert [worker.devices for worker in executor._running.values()] == [(device,) for device in HERE]
    found = {}
    while executor.active:
        found |= {job.key: (job, result) for job, result in executor.wait()}
    executor.close()
    assert sorted(result.device for _, result in found.values()) == sorted(HERE)
    assert all(job.device == result.device for job, result in found.values())
    for job in jobs[:2]:
        here = train(job, plan.data)
        assert (here.metrics, here.history) == (found[job.key][1].metrics, found[job.key][1].history)


def test_who_replaces_a_dead_worker_works_on_its_device(plan, tmp_path: Path) -> None:
    long = [replace(job, training=job.training.replaced(steps=100_000)) for job in jobs_of(plan)]
    executor = ProcessExecutor(plan.data, workers=4, folder=tmp_path, devices=[(device,) for device in HERE])
    for job in long[:4]:
        executor.submit((job,))
    before = list(executor._running.values())
    assert Counter(worker.devices for worker in before) == {(device,): 2 for device in HERE}
    lost = next(worker for worker in before if worker.devices == ("cpu:0",))
    os.kill(lost.process.pid, signal.SIGKILL)
    lost.process.join()
    assert executor._receive(executor._running.pop(lost.pipe)) == []
    (new,) = (worker for worker in executor._running.values() if worker not in before)
    assert (new.devices, new.bundle[0].key, new.bundle[0].device) == (("cpu:0",), lost.bundle[0].key, "cpu:0")
    executor.close()


def test_a_checkpoint_serves_every_device_of_a_kind(plan, tmp_path: Path) -> None:
    job = replace(jobs_of(plan)[0], folder=str(tmp_path))
    Checkpoint([job], plan.data).save({"at": 3})
    (state,) = (Checkpoint([replace(job, device="cpu:0")], plan.data).load(),)
    assert state is not None
    assert state["at"] == 3
    assert Checkpoint([replace(job, device="cuda:0")], plan.data).load() is None


def test_a_study_says_where_it_trained_and_how_many_threads(tiny: dict, tmp_path: Path) -> None:
    tiny |= {"losses": {"cosface": {"scale": 16}}, "baselines": "none", "search": {"trials": 1}}
    run_study(tiny, tmp_path / "s", devices="cpu", executor="in-process", threads=cpu_count())
    assert {record["device"] for record in journal(tmp_path / "s", "job")} == {"cpu"}
    fingerprint = json.loads((tmp_path / "s" / "study.json").read_text())
    assert (fingerprint["device"], fingerprint["threads"]) == ("cpu", cpu_count())
    assert run_study(tiny, tmp_path / "s", device="cpu", threads=cpu_count()).trained == 0
    if cpu_count() > 1:
        with pytest.raises(StoreError, match="threads"):
            run_study(tiny, tmp_path / "s")
    for wrong in (0, cpu_count() + 1):
        with pytest.raises(InvalidValueError, match="--threads"):
            run_study(tiny, tmp_path / "t", threads=wrong)


@pytest.mark.usefixtures("three")
def test_a_store_does_not_belong_to_one_of_several_devices(tiny: dict) -> None:
    prints = [make_plan(validated(tiny, "study"), device=device).fingerprint() for device in ("cuda", "cuda:2")]
    assert prints[0] == prints[1]
    assert prints[0]["device"] == "cuda"


# ---------------------------------------------------------------------- this process


def product(data: TrainingData, factor: int) -> Any:
    return os.getpid(), float(np.sum(data.dataset.labels)) * factor, torch.get_num_threads()


def test_a_call_in_a_process_of_its_own(plan) -> None:
    process, value, threads = run_apart(product, plan.data, 3)
    assert process != os.getpid()
    assert value == 3 * plan.data.dataset.labels.sum()
    assert threads == 1


def refused(data: TrainingData) -> None:
    raise InvalidValueError("it must be even", value="3")


def unspeakable(data: TrainingData) -> None:
    error = RuntimeError("with a lock")
    error.lock = __import__("threading").Lock()
    raise error


def killed(data: TrainingData) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_goes_wrong_there_is_known_here(plan) -> None:
    with pytest.raises(InvalidValueError, match="it must be even, got 3"):
        run_apart(refused, plan.data)
    with pytest.raises(DiedError, match="with a lock"):
        run_apart(unspeakable, plan.data)
    with pytest.raises(DiedError, match="SIGKILL, perhaps out of memory"):
        run_apart(killed, plan.data)


@pytest.fixture
def apart(monkeypatch) -> list[str]:
    """Have what would run on a CUDA device in another process run here on the CPU; return what did."""
    done: list[str] = []

    def run(function, data, *arguments, **_threads):
        done.append(function.__name__)
        moved = ["cpu" if argument == "cuda" else argument for argument in arguments]
        if isinstance(moved[0], list):
            moved[0] = [replace(job, device="cpu") for job in moved[0]]
        return function(data, *moved)

    monkeypatch.setattr(embedding, "run_apart", run)
    monkeypatch.setattr(engine, "run_apart", run)

    def touched(*_given, **_more):
        raise AssertionError("the coordinator has touched a CUDA device")

    monkeypatch.setattr(torch.cuda, "_lazy_init", touched)
    return done


def test_frozen_encoders_embed_elsewhere(tiny: dict, apart: list[str], monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tiny["encoder"] = {"name": "conv", "frozen": True, "head": "linear", "embedding_dim": 8}
    on_cuda = make_plan(validated(tiny, "study"), device="cuda")
    assert apart == ["_embed"]
    assert make_plan(validated(tiny, "study"), device="cuda").device == "cuda"
    assert apart == ["_embed"], "the features are cached"
    here = make_plan(validated(tiny, "study"))
    assert np.array_equal(on_cuda.data.dataset.samples, here.data.dataset.samples)
    names = {file.name.split("-")[1] for file in (tmp_path / "mlcompare" / "features").iterdir()}
    assert names == {"cpu", "cuda"}


def test_engines_are_timed_elsewhere(tiny: dict, apart: list[str]) -> None:
    chosen = engine.choose_engine(make_plan(validated(tiny, "study"), device="cuda"))
    assert apart == ["time_engines"]
    assert "failed" not in chosen.why


def test_an_engine_whose_timing_dies_is_not_chosen(tiny: dict, monkeypatch) -> None:
    def dies(*_given, **_more):
        raise DiedError("a process must end well", value="SIGKILL, perhaps out of memory")

    monkeypatch.setattr(engine, "run_apart", dies)
    chosen = engine.choose_engine(make_plan(validated(tiny, "study"), device="cuda"))
    assert not chosen.populations
    assert "SIGKILL" in chosen.why


def test_a_coordinator_leaves_cuda_alone(tiny: dict, apart: list[str], tmp_path: Path) -> None:
    class Workers(InProcessExecutor):
        """Stands for processes, each with its own device."""

        def submit(self, bundle) -> None:
            assert {job.device for job in bundle} == {"cuda"}
            super().submit(tuple(replace(job, device="cpu") for job in bundle))

    tiny |= {"losses": {"cosface": {"scale": 16}}, "search": {"trials": 1}}
    plan = make_plan(validated(tiny, "study"), device="cuda")
    with Store(tmp_path) as store:
        chosen = engine.settle_engine("auto", plan, store)
        Coordinator(plan, store, Workers(plan.data), [], populations=chosen.populations, width=chosen.width).run()
    assert apart == ["time_engines"]
    assert {record["status"] for record in journal(tmp_path, "job")} == {"ok"}


def test_the_server_of_workers_leaves_cuda_alone() -> None:
    """Who is forked from a process that has asked for a device can have none."""
    code = (
        "import importlib, torch\n"
        "def asked(*given, **more): raise AssertionError('it asked for a device')\n"
        "torch.cuda.is_available = torch.cuda.device_count = torch.cuda._lazy_init = asked\n"
        f"for name in {PRELOAD}: importlib.import_module(name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------------- how wide a population is


def test_no_more_members_than_fit(monkeypatch) -> None:
    monkeypatch.setattr(timing, "room", lambda device: 1000)
    monkeypatch.setattr(timing, "cpu_count", lambda: 2)
    assert timing._fits({1: 100, 11: 600}, "cuda:1") == 20  # 50 bytes each
    assert timing._fits({1: 100, 11: 600}, "cpu") == 10, "two workers share the memory"
    assert timing._fits({1: 100, 2: 90_000}, "cpu") == 1
    assert timing._fits({1: 100, 3: 100}, "cpu") is None
    assert timing._fits({3: 100}, "cpu") is None
    assert timing._fits({}, "cpu") is None


def test_populations_are_cut_to_that_width_and_stay_so(tiny: dict, tmp_path: Path, monkeypatch) -> None:
    tiny |= {"losses": {"cosface": {"scale": 16}}, "baselines": "none"}
    timed = timing.Timed(step=1.0, alone=2.0, together=1.0, width=4, fits=3)
    monkeypatch.setattr(engine, "time_engines", lambda *_given: timed)
    plan = make_plan(validated(tiny, "study"))
    with Store(tmp_path) as store:
        chosen = engine.settle_engine("auto", plan, store)
        assert (chosen.populations, chosen.width) == (True, 3)
        assert "no more than 3 fit the memory" in chosen.why
        assert engine.settle_engine("auto", plan, store).width == 3, "as it was begun"
        Coordinator(plan, store, InProcessExecutor(plan.data), [], populations=True, width=chosen.width).run()
    widths = [record["width"] for record in journal(tmp_path, "population")]
    assert max(widths) == 3
    assert {record["status"] for record in journal(tmp_path, "job")} == {"ok"}


def test_where_all_fit_nothing_is_said(tiny: dict, monkeypatch) -> None:
    monkeypatch.setattr(engine, "time_engines", lambda *_given: timing.Timed(1.0, 2.0, 1.0, width=4, fits=500))
    chosen = engine.choose_engine(make_plan(validated(tiny, "study")))
    assert chosen.width is None
    assert "fit" not in chosen.why
