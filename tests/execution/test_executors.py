"""Processes give the numbers that one process gives, and survive what happens to workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mlcompare.errors import InvalidValueError
from mlcompare.execution.bundles import ATTEMPTS
from mlcompare.execution.executors import InProcessExecutor, create_executor
from mlcompare.execution.process_executor import ProcessExecutor
from mlcompare.search.proposals import default_values
from mlcompare.study import make_plan
from mlcompare.study.config import validated
from mlcompare.study.journal import read_journal


@pytest.fixture
def jobs(tiny: dict):
    plan = make_plan(validated(tiny, "study"))
    found = plan.baseline_jobs()[:1]
    for loss in plan.losses:
        found += plan.trial_jobs(loss, 0, default_values(plan.losses[loss].space))
        found += plan.final_jobs(loss, 0, default_values(plan.losses[loss].space))[:1]
    return plan, found


def collect(executor, jobs) -> dict:
    for job in jobs:
        executor.submit((job,))
    results = {}
    while executor.active:
        results |= {job.key: result for job, result in executor.wait()}
    executor.close()
    return results


def test_processes_agree_with_one_process(jobs, tmp_path: Path) -> None:
    plan, found = jobs
    alone = collect(InProcessExecutor(plan.data), found)
    spread = collect(ProcessExecutor(plan.data, workers=2, folder=tmp_path), found)
    assert {k: r.metrics for k, r in alone.items()} == {k: r.metrics for k, r in spread.items()}
    assert {k: r.history for k, r in alone.items()} == {k: r.history for k, r in spread.items()}
    assert all(result.status == "ok" for result in spread.values())


def slow(job):
    return replace(job, training=job.training.replaced(steps=100_000))


def test_a_killed_worker_is_tried_again_and_then_given_up(jobs, tmp_path: Path) -> None:
    plan, found = jobs
    executor = ProcessExecutor(plan.data, workers=1, folder=tmp_path)
    executor.submit((slow(found[1]),))
    killed = 0
    while not (finished := executor_step(executor)):
        for worker in executor._running.values():
            os.kill(worker.process.pid, signal.SIGKILL)
            killed += 1
    assert killed >= ATTEMPTS
    ((_, result),) = finished
    assert result.status == "failed"
    assert "SIGKILL" in result.reason
    assert executor.active == 0


def test_what_was_tried_again_says_why(jobs, tmp_path: Path) -> None:
    plan, found = jobs
    executor = ProcessExecutor(plan.data, workers=1, folder=tmp_path)
    executor.submit((found[1],))
    for worker in executor._running.values():
        os.kill(worker.process.pid, signal.SIGKILL)
    ((_, result),) = executor.wait()
    executor.close()
    assert result.status == "ok"
    assert result.retried.startswith("the worker died (SIGKILL")
    assert result.retried.endswith(": tried again")


def executor_step(executor: ProcessExecutor):
    """One turn of ``wait`` that does not block for the first result."""
    from multiprocessing.connection import wait

    finished = []
    for pipe in wait(list(executor._running), timeout=2.0):
        finished += executor._receive(executor._running.pop(pipe))
    return finished


def test_a_hung_worker_is_stopped(jobs, tmp_path: Path) -> None:
    plan, found = jobs
    executor = ProcessExecutor(plan.data, workers=1, folder=tmp_path, timeout=1.5)
    executor.submit((slow(found[1]),))
    ((_, result),) = executor.wait()
    assert "timed out" in result.reason
    assert executor.active == 0


def test_workers_serve_one_bundle_after_the_other(jobs, tmp_path: Path) -> None:
    plan, found = jobs
    executor = ProcessExecutor(plan.data, workers=1, folder=tmp_path)
    served = []
    for job in found[:3]:
        executor.submit((job,))
        served += [worker.process.pid for worker in executor._running.values()]
        ((_, result),) = executor.wait()
        assert result.status == "ok"
    assert len(served) == 3
    assert len(set(served)) == 1
    os.kill(served[0], signal.SIGKILL)  # while it has nothing to do: nobody's job is lost, none counts as an attempt
    executor._idle[0].process.join()
    executor.submit((found[0],))
    (worker,) = executor._running.values()
    assert worker.process.pid != served[0]
    assert worker.attempt == 1
    ((_, result),) = executor.wait()
    assert result.status == "ok"
    executor.close()
    assert not worker.process.is_alive()


def test_a_worker_killed_before_it_got_its_work_is_tried_again(jobs, tmp_path: Path, monkeypatch) -> None:
    plan, found = jobs
    executor = ProcessExecutor(plan.data, workers=1, folder=tmp_path)
    start, started = executor._start, []

    def killed_at_first(*arguments):
        worker = start(*arguments)
        if not started:
            worker.process.kill()
            worker.process.join()
        started.append(worker)
        return worker

    monkeypatch.setattr(executor, "_start", killed_at_first)
    executor.submit((found[0],))
    ((_, result),) = executor.wait()
    assert result.status == "ok"
    assert [worker.attempt for worker in started] == [1, 2]
    executor.close()


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="this system keeps no peak to restart")
def test_peak_memory_is_each_trainings_own() -> None:
    code = (
        "import numpy as np; from mlcompare.training.loop import peak_memory, restart_peak_memory;"
        "restart_peak_memory('cpu'); before = peak_memory('cpu'); np.ones(50_000_000); after = peak_memory('cpu');"
        "restart_peak_memory('cpu'); again = peak_memory('cpu');"
        "assert after - before > 300e6, (before, after); assert again - before < 100e6, (before, again)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_closing_leaves_no_worker(jobs, tmp_path: Path) -> None:
    plan, found = jobs
    executor = ProcessExecutor(plan.data, workers=2, folder=tmp_path)
    for job in found[1:3]:
        executor.submit((slow(job),))
    processes = [worker.process for worker in executor._running.values()]
    executor.close()
    assert not any(process.is_alive() for process in processes)


def test_choice(jobs, tmp_path: Path) -> None:
    plan, _ = jobs
    options = {"folder": tmp_path, "device": "cpu"}
    assert create_executor("auto", plan.data, workers=1, **options).name == "in-process"
    assert create_executor("auto", plan.data, workers=3, **options).workers == 3
    with pytest.raises(InvalidValueError, match="--executor"):
        create_executor("threads", plan.data, workers=1, **options)
    with pytest.raises(InvalidValueError, match="--workers"):
        create_executor("auto", plan.data, workers=0, **options)


SCRIPT = """
import sys
from torch import Tensor
from mlcompare import Hyperparameter, register_loss
from mlcompare.losses import MarginHead
from mlcompare.study import run_study
print("the script runs", flush=True)

if len(sys.argv) > 1:
    @register_loss("of_the_script", family="margin", reference="a test")
    class OfTheScript(MarginHead):
        margin: float = Hyperparameter(0.1, low=0.0, high=0.2)
        def target_cosine(self, cosine: Tensor) -> Tensor:
            return cosine - self.margin

def work():
    losses = {"cosface": None} | ({"of_the_script": None} if len(sys.argv) > 1 else {})
    outcome = run_study(STUDY | {"losses": losses}, "store", executor="processes", workers=2)
    print("trained", outcome.trained)

GUARD:
    work()
"""


def run_script(folder: Path, tiny: dict, guard: str, *arguments: str) -> subprocess.CompletedProcess:
    text = SCRIPT.replace("STUDY", repr(tiny)).replace("GUARD", guard)
    (folder / "script.py").write_text(text, encoding="utf-8")
    return subprocess.run([sys.executable, "script.py", *arguments], cwd=folder, capture_output=True, text=True)


def test_a_script_without_a_guard_runs_once(tiny: dict, tmp_path: Path) -> None:
    done = run_script(tmp_path, tiny, "if True")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("the script runs") == 1
    failed = [r for r in read_journal(tmp_path / "store/journal.jsonl") if r["type"] == "job" and r["status"] != "ok"]
    assert failed == []


def test_a_loss_written_in_the_started_script_reaches_the_workers(tiny: dict, tmp_path: Path) -> None:
    done = run_script(tmp_path, tiny, 'if __name__ == "__main__"', "with its loss")
    assert done.returncode == 0, done.stderr
    jobs = [
        r
        for r in read_journal(tmp_path / "store/journal.jsonl")
        if r.get("loss") == "of_the_script" and r["type"] == "job"
    ]
    assert {r["status"] for r in jobs} == {"ok"}
    assert len(jobs) >= 6
