"""A shared MLflow server: a study logs to it, goes on while it is down, and catches up."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from mlcompare.study import run_study
from mlcompare.tracking import Run, Tracker
from tests.servers import Server, free_port


@pytest.fixture
def server(tmp_path: Path):
    """An MLflow server on a free port of the loopback interface, not started yet."""
    port, folder = free_port(), tmp_path / "server"
    folder.mkdir()
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--serve-artifacts",
        "--artifacts-destination", str(folder / "artifacts"),
    ]  # fmt: skip
    found = Server(command, port, folder / "log.txt", env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"})
    yield found
    found.stop()


def runs_on(address: str, experiment: str) -> list:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=address)
    known = client.get_experiment_by_name(experiment)
    return client.search_runs([known.experiment_id], max_results=1000)


def check_whole(address: str, trained: int) -> None:
    """Every trial, final and baseline stands on the server once, finished."""
    runs = runs_on(address, "tiny")
    keys = [run.data.tags["trial_key"] for run in runs]
    assert len(keys) == len(set(keys))
    assert {run.info.status for run in runs} == {"FINISHED"}
    trials = [key for key in keys if key.startswith("trial/")]
    assert len(trials) == 6
    assert len(trials) * 2 + len(keys) - len(trials) == trained  # a trial of two folds is one run


@pytest.mark.slow
def test_a_study_goes_on_while_the_server_is_down_and_the_next_run_catches_up(server, tiny, tmp_path: Path) -> None:
    server.start()
    seen = threading.Event()

    def stop_soon() -> None:
        while not seen.is_set():
            try:
                if len(runs_on(server.address, "tiny")) >= 2:
                    server.stop()
                    return
            except Exception:
                time.sleep(0.05)

    study = {**tiny, "training": {**tiny["training"], "steps": 300}}
    killer = threading.Thread(target=stop_soon)
    killer.start()
    outcome = run_study(study, tmp_path / "store", executor="in-process", tracking_uri=server.address)
    seen.set()
    killer.join()
    assert "runs wait" in (outcome.tracking_fault or "")
    assert (tmp_path / "store" / "results.parquet").is_file()

    server.start()
    again = run_study(study, tmp_path / "store", executor="in-process", tracking_uri=server.address)
    assert (again.trained, again.tracking_fault) == (0, None)
    check_whole(server.address, outcome.trained)


@pytest.mark.slow
def test_a_server_that_comes_late_gets_everything(server, tiny, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("mlcompare.tracking.tracker.RETRY_SECONDS", 0.2)
    started = threading.Timer(1.0, server.start)
    started.start()
    tracker = Tracker(server.address, "late")
    for number in range(40):
        tracker.log(Run(f"run/{number}", f"run {number}", {"kind": "trial"}, {"lr": 0.1}, (("value", 1.0, 0),)))
        time.sleep(0.05)
    started.join()
    assert tracker.close() is None
    assert len(runs_on(server.address, "late")) == 40


def test_a_run_that_is_refused_does_not_hold_up_the_others(tmp_path: Path) -> None:
    tracker = Tracker(f"sqlite:///{tmp_path}/mlflow.db", "refusals")
    tracker.log(Run("bad", "bad", {"kind": "trial"}, {"no/such\nname!": 1}, ()))
    tracker.log(Run("good", "good", {"kind": "trial"}, {"lr": 1}, (("value", 1.0, 0),)))
    assert "no/such" in (tracker.close() or "")
    runs = runs_on(f"sqlite:///{tmp_path}/mlflow.db", "refusals")
    assert [run.data.tags["trial_key"] for run in runs if run.info.status == "FINISHED"] == ["good"]
