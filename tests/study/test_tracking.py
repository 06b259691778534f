"""The run database: what a tracker writes, and new databases from a template."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from sqlalchemy import event
from sqlalchemy.engine import Engine

from mlcompare.study import run_study
from mlcompare.tracking import Run, Tracker, database, database_uri, lay_empty, local_uri, template
from mlcompare.tracking.client import MLFLOW
from mlcompare.tracking.database import revision

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


def test_runs_are_written_once_and_half_written_ones_anew(laid: Path, tmp_path: Path) -> None:
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


def test_commits_wait_for_the_disk_only_in_other_databases(laid: Path, tmp_path: Path) -> None:
    """SQLite's levels: 1 is NORMAL, which the write-ahead log keeps whole; 2 is FULL, as MLflow leaves it."""
    levels: dict[str, set[int]] = {}

    def look(connection: sqlite3.Connection, *_others: object) -> None:
        file = connection.execute("PRAGMA database_list").fetchone()[2]
        levels.setdefault(Path(file).stem, set()).add(connection.execute("PRAGMA synchronous").fetchone()[0])

    event.listen(Engine, "checkin", look)
    try:
        for _ in range(2):  # the second opens a database that is there
            tracker = Tracker(database_uri(tmp_path / "ours.db"), "study", artifacts=tmp_path / "artifacts")
            tracker.log(TRIAL)
            assert tracker.close() is None
        shutil.copyfile(tmp_path / "ours.db", tmp_path / "another.db")
        MlflowClient(tracking_uri=database_uri(tmp_path / "another.db")).get_experiment_by_name("study")
    finally:
        event.remove(Engine, "checkin", look)
    assert levels == {"ours": {1}, "another": {2}}
    with sqlite3.connect(tmp_path / "ours.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_connections_are_watched_once_and_not_from_the_trackers_thread(laid, tmp_path: Path, monkeypatch) -> None:
    """Another thread that connects meanwhile (Optuna's view) fails where listeners are added under it."""
    if event.contains(Engine, "connect", database._lighten):
        event.remove(Engine, "connect", database._lighten)
    listened, really = [], event.listen

    def listen(target: object, name: str, function: Callable, **options: object) -> None:
        listened.append((function, threading.current_thread()))
        really(target, name, function, **options)

    monkeypatch.setattr(event, "listen", listen)
    for _ in range(3):
        tracker = Tracker(local_uri(tmp_path), "study", artifacts=tmp_path / "artifacts")
        tracker.log(TRIAL)
        assert tracker.close() is None
    assert [thread for function, thread in listened if function is database._lighten] == [threading.main_thread()]


def test_a_deleted_experiment_is_told(laid: Path, tmp_path: Path) -> None:
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
        MlflowClient(tracking_uri=database_uri(tmp_path / "without.db"))


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
            columns = [column[1] for column in connection.execute("PRAGMA table_info(experiments)")]
            needed = ["name", *({"workspace"} & set(columns))]  # older MLflow has no workspaces
            connection.execute({
                "revision": "UPDATE alembic_version SET version_num = 'another'",
                "rows": f"INSERT INTO experiments ({', '.join(needed)}) VALUES ({', '.join(['?'] * len(needed))})",
            }[how], ["of another store", "default"][: len(needed)] if how == "rows" else [])  # fmt: skip
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

    def late(original: Path, target: Path) -> None:
        (tmp_path / "c.db").write_bytes(b"another was faster")
        copy(original, target)

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


def test_two_studies_of_one_name_share_a_server(tiny: dict, tmp_path: Path, monkeypatch) -> None:
    """Their runs have the same keys, and are told apart by what decides their numbers."""
    monkeypatch.chdir(tmp_path)  # MLflow keeps artifacts of such a database in ./mlruns
    uri = f"sqlite:///{tmp_path / 'team.db'}"
    tiny["losses"] = {"cosface": {"scale": 16}}
    client = MlflowClient(tracking_uri=uri)

    def logged(store: str, steps: int) -> int:
        tiny["training"]["steps"] = steps
        outcome = run_study(tiny, tmp_path / store, tracking_uri=uri, executor="in-process")
        assert outcome.tracking_fault is None
        return len(client.search_runs([outcome.experiment_id], "tags.kind = 'trial'"))

    assert [logged("one", 4), logged("two", 6), logged("one", 4)] == [3, 6, 6]


def test_after_an_extension_runs_say_what_is_selected_now(tiny: dict, tmp_path: Path, monkeypatch) -> None:
    from mlcompare.execution import executors

    tiny["losses"] = {"cosface": {"scale": 16}}
    train = executors.run_bundle

    def later_is_better(bundle, data):
        results = train(bundle, data)
        for job, result in zip(bundle, results):
            if job.kind == "trial":
                result.metrics[job.metrics[0]] = job.trial / 10 if extended else 0.0
        return results

    extended = False
    monkeypatch.setattr(executors, "run_bundle", later_is_better)
    run_study(tiny, tmp_path, trials=1, executor="in-process")
    extended = True
    outcome = run_study(tiny, tmp_path, trials=3, extend=True, executor="in-process")
    client = MlflowClient(tracking_uri=local_uri(tmp_path))
    runs = client.search_runs([outcome.experiment_id], "tags.kind = 'final'")
    sources = {(run.data.tags["trial_key"].split("/")[2], run.data.tags["source"]) for run in runs}
    assert sources == {("0", "default"), ("2", "selected")}
