"""What a store's database has already is not logged again, and MLflow is not even imported for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from mlflow.tracking import MlflowClient

from mlcompare.tracking import Run, Tracker, local_uri
from tests.study.conftest import TINY

TOLD = {"loss": "cosface", "source": "default"}
DONE = Run("trial/cosface/0", "cosface trial 0", TOLD, {"lr": 0.1}, (("a", 1.0, 0),))
FAILED = Run("trial/cosface/1", "cosface trial 1", {"loss": "cosface"}, {}, (), status="FAILED")
PLAIN = Run("baseline/pca", "pca", {"kind": "baseline"}, {}, (("a", 0.5, 0), ("b", 2.0, 3)))
RUNS = [DONE, FAILED, PLAIN]


def tracker_of(store: Path, name: str = "study", view: str = "as it was", identity: str = "x1") -> Tracker:
    return Tracker(
        local_uri(store), name, artifacts=store / "artifacts" / "mlflow", views={"view": view},
        identities={"cosface": identity, "": "x0"},
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Path:
    tracker = tracker_of(tmp_path / "store")
    tracker.log_missing(RUNS)
    assert tracker.close() is None
    return tmp_path / "store"


def asks_mlflow(tracker: Tracker, runs: list[Run]) -> bool:
    tracker.log_missing(runs)
    assert tracker.close() is None
    assert tracker.experiment_id == "1"
    return tracker._writer is not None


def found(store: Path) -> dict[str, tuple[str, str | None, set[str]]]:
    client = MlflowClient(tracking_uri=local_uri(store))
    return {
        run.data.tags["trial_key"]: (run.info.status, run.data.tags.get("source"), set(run.data.metrics))
        for run in client.search_runs(["1"])
    }


def test_what_is_there_is_left_alone(store: Path) -> None:
    assert not asks_mlflow(tracker_of(store), RUNS)
    assert not asks_mlflow(tracker_of(store), RUNS[:1])
    assert not asks_mlflow(tracker_of(store), [])


@pytest.mark.parametrize("changed", [
    replace(DONE, key="trial/cosface/2"),
    replace(DONE, tags={**DONE.tags, "source": "selected"}),
    replace(DONE, metrics=(*DONE.metrics, ("added", 1.0, 0))),
    replace(FAILED, status="FINISHED"),
    replace(PLAIN, tags={"loss": "cosface"}),
], ids=["another", "source", "metric", "retried", "identity"])  # fmt: skip
def test_what_differs_is_logged(store: Path, changed: Run) -> None:
    runs = [run for run in RUNS if run.key != changed.key] + [changed]
    assert asks_mlflow(tracker_of(store), runs)
    status, source, metrics = found(store)[changed.key]
    assert status == changed.status
    assert source == changed.tags.get("source")
    assert metrics == {name for name, _, _ in changed.metrics}
    assert not asks_mlflow(tracker_of(store), runs), "now it is there"


def test_what_was_deleted_is_logged_again(store: Path) -> None:
    client = MlflowClient(tracking_uri=local_uri(store))
    gone = next(run for run in client.search_runs(["1"]) if run.data.tags["trial_key"] == PLAIN.key)
    client.delete_run(gone.info.run_id)
    assert asks_mlflow(tracker_of(store), RUNS)
    assert PLAIN.key in found(store)


def test_what_was_half_written_is_logged_again(store: Path) -> None:
    client = MlflowClient(tracking_uri=local_uri(store))
    run = next(run for run in client.search_runs(["1"]) if run.data.tags["trial_key"] == DONE.key)
    client.update_run(run.info.run_id, status="RUNNING")
    assert asks_mlflow(tracker_of(store), RUNS)
    assert found(store)[DONE.key][0] == "FINISHED"


def test_a_changed_view_or_name_is_written(store: Path) -> None:
    assert asks_mlflow(tracker_of(store, view="new"), RUNS)
    assert asks_mlflow(tracker_of(store, name="renamed", view="new"), RUNS)
    experiment = MlflowClient(tracking_uri=local_uri(store)).get_experiment("1")
    assert (experiment.name, experiment.tags["view"]) == ("renamed", "new")


def test_a_moved_store_gets_its_addresses_right(store: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(store, moved)
    assert asks_mlflow(tracker_of(moved), RUNS)
    location = MlflowClient(tracking_uri=local_uri(moved)).get_experiment("1").artifact_location
    assert location.startswith(moved.as_uri())


@pytest.mark.parametrize("content", [None, b"", b"no database at all"])
def test_a_missing_or_broken_database_is_left_to_mlflow(store: Path, content: bytes | None) -> None:
    for path in store.glob("mlflow.db*"):
        path.unlink()
    if content is not None:
        (store / "mlflow.db").write_bytes(content)
    tracker = tracker_of(store)
    tracker.log_missing(RUNS)
    fault = tracker.close()
    assert (fault is None) == (content != b"no database at all"), fault


def test_a_finished_study_imports_no_mlflow(tmp_path: Path) -> None:
    study = {**TINY, "losses": {"contrastive": None}, "baselines": [], "search": {"trials": 1}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    run = "from mlcompare.cli import main\ntry: main(['run', 'study.yaml', '--executor', 'in-process'])"
    code = f"{run}\nexcept SystemExit: pass\nimport sys; print('mlflow' in sys.modules)"
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    shown = [subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True, cwd=tmp_path,
                            env=environment).stdout.splitlines() for _ in range(2)]  # fmt: skip
    assert [lines[-1] for lines in shown] == ["True", "False"]
    assert "nothing left to do" in "".join(shown[1])
