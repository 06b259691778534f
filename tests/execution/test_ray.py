"""Ray tasks give the local numbers, and a study survives what happens to them."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ray = pytest.importorskip("ray")

from mlcompare.errors import InvalidValueError, StoreError  # noqa: E402
from mlcompare.execution.ranks import LOST, NO_ANSWER  # noqa: E402
from mlcompare.execution.ray_executor import RayExecutor  # noqa: E402
from mlcompare.execution.ray_ranks import _result as ranks_result  # noqa: E402
from mlcompare.search.proposals import default_values  # noqa: E402
from mlcompare.study import make_plan, run_study  # noqa: E402
from mlcompare.study.config import validated  # noqa: E402
from mlcompare.training import TrainingJob, TrainingResult, train  # noqa: E402
from tests.execution.test_executors import collect, slow  # noqa: E402
from tests.execution.test_ranks import images, job_of, watched  # noqa: E402

MEASURED = ["seconds", "peak_memory"]


@pytest.fixture(scope="module")
def cluster():
    """A cluster of four cores on this machine, shared by the module's tests."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


def table(store: Path) -> pd.DataFrame:
    return pd.read_parquet(store / "results.parquet").drop(columns=MEASURED)


@pytest.fixture
def plan(tiny: dict):
    return make_plan(validated(tiny, "study"))


def jobs_of(plan) -> list:
    return [j for name, loss in plan.losses.items() for j in plan.trial_jobs(name, 0, default_values(loss.space))]


@pytest.mark.slow
def test_two_hundred_jobs_over_four_workers_equal_the_local_study(cluster, tiny: dict, tmp_path: Path) -> None:
    study = {**tiny, "search": {"trials": 46, "parallel": 4}}
    local = run_study(study, tmp_path / "local", executor="in-process")
    spread = run_study(study, tmp_path / "ray", executor="ray", workers=4)
    assert local.trained == spread.trained >= 184 + 8
    pd.testing.assert_frame_equal(table(tmp_path / "ray"), table(tmp_path / "local"))


def test_populations_are_tasks_too(cluster, tiny: dict, tmp_path: Path) -> None:
    run_study(tiny, tmp_path / "local", executor="in-process", populations=True)
    run_study(tiny, tmp_path / "ray", executor="ray", workers=2, populations=True)
    pd.testing.assert_frame_equal(table(tmp_path / "ray"), table(tmp_path / "local"))


def worker_pids() -> list[int]:
    """Ray's living worker processes that run one of our tasks."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if name.startswith("ray::_run_checked"):
                found.append(int(entry.name))
    return found


def test_a_killed_worker_is_survived(cluster, tiny: dict, tmp_path: Path) -> None:
    study = {**tiny, "training": {**tiny["training"], "steps": 400}}
    killed, ended = [], threading.Event()

    def kill_some() -> None:
        while not ended.is_set() and not killed:
            for pid in worker_pids()[:1]:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
            time.sleep(0.02)

    killer = threading.Thread(target=kill_some)
    killer.start()
    try:
        run_study(study, tmp_path / "ray", executor="ray", workers=2)
    finally:
        ended.set()
        killer.join()
    assert killed, "the test must have killed a worker in mid-study"
    told = [json.loads(line).get("retried") for line in (tmp_path / "ray" / "journal.jsonl").read_text().splitlines()]
    assert {line for line in told if line} == {"the Ray worker died (WorkerCrashedError): tried again"}
    run_study(study, tmp_path / "local", executor="in-process")
    pd.testing.assert_frame_equal(table(tmp_path / "ray"), table(tmp_path / "local"))


def test_a_task_that_always_dies_fails_with_its_reason(cluster, plan) -> None:
    executor = RayExecutor(plan.data, workers=1)
    executor.submit((slow(jobs_of(plan)[0]),))
    ended = threading.Event()

    def kill_all() -> None:
        while not ended.is_set():
            for pid in worker_pids():
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    killer = threading.Thread(target=kill_all)
    killer.start()
    try:
        ((_, result),) = executor.wait()
    finally:
        ended.set()
        killer.join()
        executor.close()
    assert result.status == "failed"
    assert "died" in result.reason
    assert "3 times" in result.reason


def test_a_hung_task_is_stopped(cluster, plan) -> None:
    executor = RayExecutor(plan.data, workers=1, timeout=2.0)
    executor.submit((slow(jobs_of(plan)[0]),))
    ((_, result),) = executor.wait()
    executor.close()
    assert result.status == "failed"
    assert "timed out" in result.reason


def test_the_cluster_must_have_what_a_job_needs(cluster, plan) -> None:
    with pytest.raises(InvalidValueError, match="GPU"):
        RayExecutor(plan.data, gpus_per_job=0.25)
    with pytest.raises(InvalidValueError, match="99 CPU"):
        RayExecutor(plan.data, threads=99)
    assert RayExecutor(plan.data, threads=2).workers == 2


def test_machines_with_other_versions_are_refused(cluster, plan, monkeypatch) -> None:
    monkeypatch.setattr("mlcompare.execution.ray_executor.versions", lambda: {"torch": "0.1"})
    executor = RayExecutor(plan.data, workers=1)
    with pytest.raises(StoreError, match="set of packages"):
        collect(executor, jobs_of(plan)[:1])
    executor.close()


def test_no_cluster_at_the_address(tiny: dict, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)

    def refuse(**_options):
        raise ConnectionError("nobody answers")

    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(InvalidValueError, match="must answer"):
        run_study(tiny, tmp_path / "store", executor="ray", ray_address="127.0.0.1:1")
    assert not (tmp_path / "store").exists()


def in_ray_train(job: TrainingJob) -> TrainingResult:
    """Train in two ranks, each with a core."""
    return collect(RayExecutor(images(), workers=1, ranks=2), [job])[job.key]


@pytest.mark.slow
def test_the_ranks_of_a_training_are_workers_of_ray_train(cluster) -> None:
    job = job_of("cosface")
    alone, result = train(job, images()), in_ray_train(job)
    assert (result.status, result.device) == ("ok", "cpu"), result.reason
    np.testing.assert_allclose(result.history["loss"], alone.history["loss"], rtol=1e-4)
    for name, array in alone.artifacts["weights"].items():
        np.testing.assert_allclose(result.artifacts["weights"][name], array, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_a_training_whose_rank_dies_is_tried_again(cluster, tmp_path: Path) -> None:
    dies = watched(does="die", marker=str(tmp_path / "lost"))
    result = in_ray_train(replace(job_of("cosface", dies, checkpoint_minutes=1e-9), folder=str(tmp_path)))
    assert (tmp_path / "lost").exists()
    assert result.status == "ok", result.reason


@pytest.mark.slow
def test_a_rank_that_fails_says_why(cluster) -> None:
    result = in_ray_train(job_of("cosface", watched(does="fail")))
    assert (result.status, result.reason) == ("failed", "ValueError: this picture has no colours")


def test_of_what_ranks_say_the_cause_is_kept() -> None:
    job = job_of("cosface")
    waits = TrainingResult(job.key, "failed", f"{NO_ANSWER}connection closed")
    fails, fine = TrainingResult(job.key, "failed", "ValueError: x"), TrainingResult(job.key)
    assert ranks_result(job, {0: fine}, "").status == "ok"
    assert ranks_result(job, {0: fails, 1: waits}, "").reason == "ValueError: x"
    assert ranks_result(job, {0: waits, 1: fails}, "").reason == "ValueError: x"
    assert ranks_result(job, {1: fails}, "").reason == "ValueError: x"
    assert ranks_result(job, {}, "a node is gone").reason == f"{LOST} (a node is gone)"


def test_a_cluster_must_have_room_for_every_rank(cluster, plan) -> None:
    assert RayExecutor(plan.data, ranks=2).workers == 2
    with pytest.raises(InvalidValueError, match="a task needs 1 CPU and 0 GPU on one machine, 5 times"):
        RayExecutor(plan.data, ranks=5)
