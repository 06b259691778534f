"""The run database: rows of our own equal those of MLflow's client, and new databases come from a template."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from mlcompare.tracking import Run, Tracker, lay_empty, local_uri, rows, template
from mlcompare.tracking.client import MLFLOW, ClientWriter
from mlcompare.tracking.database import revision
from mlcompare.tracking.records import Experiment
from mlcompare.tracking.rows import RowWriter, open_rows
from tests.study.conftest import TINY

HEAD = template.head_revision(MLFLOW)
TRIAL = Run(
    "trial/cosface/0", "cosface trial 0", {"loss": "cosface", "kind": "trial", "source": "default"},
    {"lr": 0.001, "margin": None, "long": "x" * 7000, "count": 3},
    (("map_at_r", 0.5, 0), ("map_at_r_by_fold", 0.4, 0), ("map_at_r_by_fold", 0.6, 1), ("train_loss", 3.0, 50),
     ("train_loss", 9.0, 25), ("train_loss", 3.0, 50), ("tied", 1.0, 0), ("tied", 2.0, 0), ("seconds", 2, 0)),
    seconds=2.5,
)  # fmt: skip
FAILED = Run("trial/cosface/1", "cosface trial 1", {"kind": "trial", "reason": ""}, {}, (), status="FAILED")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A template as MLflow makes it."""
    path = tmp_path_factory.mktemp("made") / "template.db"
    template._make(path, MLFLOW)
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder for a test: where the template lies."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = template.template_file(MLFLOW, HEAD)
    file.parent.mkdir(parents=True)
    return file


@pytest.fixture
def laid(cache: Path, made: Path) -> Path:
    shutil.copyfile(made, cache)
    return cache


def copied(made: Path) -> Callable[[Path], None]:
    """Return a maker that is quick."""
    return lambda path: shutil.copyfile(made, path) and None


def contents(database: Path, artifacts: Path) -> dict[str, list[tuple]]:
    """Return all rows of all tables, with the keys of runs in the place of random identities."""
    connection = sqlite3.connect(database)
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    names = dict(connection.execute("SELECT run_uuid, value FROM tags WHERE key = 'trial_key'"))
    names |= dict(connection.execute("SELECT dataset_uuid, 'the dataset' FROM datasets"))
    uses = connection.execute("SELECT input_uuid, destination_id FROM inputs").fetchall()
    names |= {use: f"use by {names[run]}" for use, run in uses}

    def named(cell: object) -> object:
        for identity, name in names.items():
            cell = cell.replace(identity, name) if isinstance(cell, str) else cell
        return cell

    found = {}
    for table in tables:
        columns = [column for _, column, *_ in connection.execute(f'PRAGMA table_info("{table}")')]
        order = ", ".join(f'"{column}"' for column in sorted(columns))
        cells = [tuple(map(named, row)) for row in connection.execute(f'SELECT {order} FROM "{table}"')]
        found[table] = sorted((row for row in cells if "Default" not in row), key=repr)
    connection.close()
    files = sorted(path for path in artifacts.rglob("*") if path.is_file())
    found["files"] = [(named(str(path.relative_to(artifacts))), path.read_bytes()) for path in files]
    return found


def test_rows_are_those_of_the_client(laid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000.5)
    weights = tmp_path / "weights.pt"
    weights.write_bytes(b"weights")
    files = ((str(weights), "weights"), (str(weights), ""))
    runs = [TRIAL, FAILED, replace(TRIAL, key="final/0", status="KILLED", artifacts=files)]
    found = {}
    for kind in (ClientWriter, open_rows):
        place = tmp_path / "store" / "artifacts"
        experiment = Experiment("study", "**question**", place, ("digits", "f" * 64), {"view": "{}"})
        database = tmp_path / f"{kind.__name__}.db"
        writer = kind(local_uri(database), experiment)
        for run in [*runs, TRIAL]:
            writer.write(run)
        writer.close()
        assert isinstance(writer, RowWriter) == (kind is open_rows), "this revision is one that we know"
        found[kind] = contents(database, place)
        shutil.rmtree(place)
    assert found[open_rows] == found[ClientWriter]
    assert len(found[open_rows]["runs"]) == 3
    assert len(found[open_rows]["files"]) == 2


def test_the_client_takes_what_is_out_of_the_ordinary(laid: Path, tmp_path: Path) -> None:
    """An odd name, a run that was left half-written, and a value that is not finite."""
    uri, place = local_uri(tmp_path / "store"), tmp_path / "store" / "artifacts"
    Tracker(uri, "study", artifacts=place).close()
    tracker = Tracker(uri, "study", artifacts=place, views={"view": "old"})
    tracker.log(TRIAL)
    assert tracker.close() is None
    client = MlflowClient(tracking_uri=uri)
    half = client.create_run(tracker.experiment_id, tags={"trial_key": FAILED.key}).info.run_id
    client.set_experiment_tag(tracker.experiment_id, "mlflow.note.content", "edited")
    tracker = Tracker(uri, "study", description="ours", artifacts=place, views={"view": "new"})
    for run in (TRIAL, FAILED, Run("a", "a", {"k": "v"}, {"a/b: c": 1}, (("worst", float("inf"), 0),))):
        tracker.log(run)
    assert tracker.close() is None
    runs = {run.data.tags["trial_key"]: run for run in client.search_runs([tracker.experiment_id])}
    assert {key: run.info.status for key, run in runs.items()} == {
        TRIAL.key: "FINISHED", FAILED.key: "FAILED", "a": "FINISHED",
    }  # fmt: skip
    assert client.get_run(half).info.lifecycle_stage == "deleted"
    assert runs["a"].data.metrics["worst"] > 1e308
    tags = client.get_experiment(tracker.experiment_id).tags
    assert (tags["mlflow.note.content"], tags["view"]) == ("edited", "new")


def test_tables_of_another_revision_are_left_to_the_client(laid: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(rows, "KNOWN", {"another"})
    experiment = Experiment("study", artifacts=tmp_path / "artifacts")
    assert open_rows(local_uri(tmp_path), experiment) is None
    tracker = Tracker(local_uri(tmp_path), "study", artifacts=tmp_path / "artifacts")
    tracker.log(TRIAL)
    assert tracker.close() is None
    assert len(MlflowClient(tracking_uri=local_uri(tmp_path)).search_runs([tracker.experiment_id])) == 1


def test_a_deleted_experiment_is_refused_by_the_client(laid: Path, tmp_path: Path) -> None:
    def log(key: str) -> tuple[str | None, str | None]:
        tracker = Tracker(local_uri(tmp_path), "study", artifacts=tmp_path / "artifacts")
        tracker.log(replace(TRIAL, key=key))
        return tracker.close(), tracker.experiment_id

    fault, experiment_id = log("first")
    assert fault is None
    MlflowClient(tracking_uri=local_uri(tmp_path)).delete_experiment(experiment_id)
    assert "must be in the 'active' state" in log("second")[0]


def test_mlflow_runs_no_migration_on_a_copy(laid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_arguments: object, **_options: object) -> None:
        raise AssertionError("a migration was started")

    monkeypatch.setattr("alembic.command.upgrade", refused)
    lay_empty(tmp_path / "mlflow.db", MLFLOW)
    client = MlflowClient(tracking_uri=local_uri(tmp_path))  # it refuses a revision that is not its last
    assert [e.name for e in client.search_experiments()] == ["Default"]
    with pytest.raises(AssertionError, match="migration"):
        MlflowClient(tracking_uri=local_uri(tmp_path / "without.db"))


def test_a_template_knows_no_path(made: Path, tmp_path: Path) -> None:
    content = made.read_bytes()
    for word in (b"mlruns", b"file:", str(Path.cwd()).encode(), str(made.parent.parent).encode()):
        assert word not in content
    connection = sqlite3.connect(made)
    assert connection.execute("SELECT count(*) FROM experiments").fetchone() == (0,)
    assert revision(connection) == HEAD
    connection.close()


def spoil(file: Path, how: str) -> None:
    if how == "missing":
        file.unlink()
    elif how == "cut":
        file.write_bytes(file.read_bytes()[:100_000])
    elif how == "no database":
        file.write_bytes(b"not a database" * 100)
    elif how == "empty":
        file.write_bytes(b"")
    else:
        connection = sqlite3.connect(file)
        with connection:
            connection.execute({
                "revision": "UPDATE alembic_version SET version_num = 'another'",
                "rows": "INSERT INTO experiments (name, workspace) VALUES ('of another store', 'default')",
            }[how])  # fmt: skip
        connection.close()


@pytest.mark.parametrize("how", ["missing", "cut", "no database", "empty", "revision", "rows"])
def test_an_odd_template_is_made_anew_or_not_used(how: str, laid: Path, made: Path, tmp_path: Path) -> None:
    spoil(laid, how)

    def fails(_path: Path) -> None:
        raise OSError("no space left")

    lay_empty(tmp_path / "none.db", replace(MLFLOW, make=fails))
    assert not (tmp_path / "none.db").exists()
    lay_empty(tmp_path / "good.db", replace(MLFLOW, make=copied(made)))
    assert (tmp_path / "good.db").read_bytes() == laid.read_bytes()
    assert template._whole(laid, MLFLOW, HEAD)
    assert list(laid.parent.iterdir()) == [laid]


def test_without_a_cache_folder_mlflow_makes_its_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    tracker = Tracker(local_uri(tmp_path), "study", artifacts=tmp_path / "artifacts")
    tracker.log(TRIAL)
    assert tracker.close() is None
    assert len(MlflowClient(tracking_uri=local_uri(tmp_path)).search_runs([tracker.experiment_id])) == 1


def test_nothing_is_laid_over_a_database_or_beside_a_journal(laid: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "a.db").write_bytes(b"mine")
    lay_empty(tmp_path / "a.db", MLFLOW)
    assert (tmp_path / "a.db").read_bytes() == b"mine"

    (tmp_path / "b.db-wal").write_bytes(b"of a database that is gone")
    lay_empty(tmp_path / "b.db", MLFLOW)
    assert not (tmp_path / "b.db").exists()

    copy = shutil.copyfile

    def late(source: Path, target: Path) -> None:
        (tmp_path / "c.db").write_bytes(b"another was faster")
        copy(source, target)

    monkeypatch.setattr(shutil, "copyfile", late)
    lay_empty(tmp_path / "c.db", MLFLOW)
    assert (tmp_path / "c.db").read_bytes() == b"another was faster"
    assert not list(tmp_path.glob(".c.db*"))


def test_many_at_once_get_whole_databases(cache: Path, made: Path, tmp_path: Path) -> None:
    """No template is there yet: all make one, half of them for the same store."""
    gate = threading.Barrier(8)

    def lay(number: int) -> None:
        gate.wait()
        lay_empty(tmp_path / f"{max(number, 3)}.db", replace(MLFLOW, make=copied(made)))

    threads = [threading.Thread(target=lay, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {path.name for path in tmp_path.glob("*.db*")} == {f"{number}.db" for number in range(3, 8)}
    assert all(template._whole(path, MLFLOW, HEAD) for path in tmp_path.glob("*.db"))
    assert list(cache.parent.iterdir()) == [cache]


def test_a_study_does_not_even_load_mlflow(laid: Path, tmp_path: Path) -> None:
    code = (
        f"import sys; from mlcompare.study import run_study; outcome = run_study({TINY!r}, 'store', "
        "executor='in-process'); print(outcome.tracking_fault, outcome.experiment_id, 'mlflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == ["None", "1", "False"], done.stderr[-2000:]
    assert not list((tmp_path / "store").glob("mlflow.db-*")), "nothing is left beside the database"
    client = MlflowClient(tracking_uri=local_uri(tmp_path / "store"))
    runs = client.search_runs(["1"], max_results=100)
    assert {run.info.status for run in runs} == {"FINISHED"}
    weights = [file.path for run in runs for file in client.list_artifacts(run.info.run_id, "weights")]
    assert sum(path.endswith(".pt") for path in weights) == len(TINY["losses"]) * TINY["protocol"]["folds"]
