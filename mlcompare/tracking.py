"""MLflow as a view: flat runs, logged in batches by one writer thread. The only importer of MLflow."""

from __future__ import annotations

import json
import logging
import os
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlcompare.errors import StoreError

__all__ = ["Run", "Tracker", "local_uri", "replace_database", "server_command"]

RETRY_SECONDS = 5.0  # how long a server that is out of reach is left alone
PARAMETER_LIMIT, METRICS_PER_BATCH, RUNS_PER_PAGE = 6000, 1000, 1000
KEY_TAG = "trial_key"


@dataclass(frozen=True)
class Run:
    """One flat MLflow run: ``metrics`` are ``(name, value, step)``; ``artifacts`` are ``(file, folder)``."""

    key: str
    name: str
    tags: Mapping[str, str]
    params: Mapping[str, Any]
    metrics: tuple[tuple[str, float, int], ...]
    status: str = "FINISHED"
    seconds: float = 0.0
    artifacts: tuple[tuple[str, str], ...] = field(default=())


def local_uri(path: Path) -> str:
    """Return the tracking URI of a store's own database, or of a database file."""
    path = path if path.suffix == ".db" else path / "mlflow.db"
    return f"sqlite:///{path.resolve()}"


def replace_database(fresh: Path, old: Path) -> None:
    """Put a finished SQLite database in the place of another; nothing of the old one's journal is left beside it."""
    connection = sqlite3.connect(fresh, timeout=30)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    for path in (fresh, old):
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    fresh.replace(old)


def _quiet_environment() -> None:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # the tracker itself waits and tries again
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")  # what goes wrong, `Tracker.close` says in one line


class Tracker:
    """Writes runs in a thread of its own; a study never waits for it, and never fails because of it.

    Args:
        uri: where to log; see :func:`local_uri`.
        experiment: the experiment's name, one for each study.
        description: Markdown shown on the experiment's page.
        views: further tags of the experiment, such as the page's shared views.
        artifacts: where a local store keeps run artifacts; ``None`` leaves it to the server.
        dataset: name and fingerprint, noted on every run.

    While a server is out of reach the runs wait, and are written when it is back. What could not be logged by the end
    is named by :meth:`close`; the journal has it, and the next start catches up by ``trial_key``.
    """

    def __init__(
        self, uri: str, experiment: str, *, description: str = "", artifacts: Path | None = None,
        dataset: tuple[str, str] | None = None, views: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.uri, self.experiment, self._dataset = uri, experiment, dataset
        self._artifacts = artifacts
        self._views = dict(views or {})
        self._tags = {"mlflow.note.content": description, "mlflow.experimentKind": "custom_model_development"}
        self._queue: queue.Queue[Run | Callable[[], None] | None] = queue.Queue()
        self._refused: str | None = None
        self._unreached: str | None = None
        self._client: Any = None
        self._known: dict[str | None, tuple[str, str]] = {}  # trial_key → run and status
        self.experiment_id: str | None = None
        self.seconds = 0.0
        self._thread = threading.Thread(target=self._write_all, name="tracking", daemon=True)
        self._thread.start()

    def log(self, run: Run) -> None:
        """Log a run soon; one that is already there and finished is left alone."""
        self._queue.put(run)

    def call(self, action: Callable[[], None]) -> None:
        """Run another view's writer in the same thread, in turn."""
        self._queue.put(action)

    def close(self, timeout: float = 600.0) -> str | None:
        """Wait for what is queued; return why something could not be logged, or ``None``."""
        self._queue.put(None)
        self._thread.join(timeout)
        return "still writing" if self._thread.is_alive() else self._unreached or self._refused

    def _write_all(self) -> None:
        backlog: deque[Run] = deque()
        retry_at = 0.0
        while (item := self._queue.get()) is not None:
            started = time.thread_time()
            if isinstance(item, Run):
                backlog.append(item)
                if time.monotonic() >= retry_at and not self._drain(backlog):
                    retry_at = time.monotonic() + RETRY_SECONDS
            else:
                self._refused = _fault_of(item) or self._refused
            self.seconds += time.thread_time() - started
        if backlog:
            self._drain(backlog)

    def _drain(self, backlog: deque[Run]) -> bool:
        """Write what waits, in order, until the server does not answer. A run that it refuses is left out."""
        while backlog:
            self._unreached = None if self._client else _fault_of(self._connect)
            if self._unreached is None:
                refused = _fault_of(lambda: self._write(backlog[0]))
                if refused:
                    self._unreached = _fault_of(lambda: self._client.get_experiment(self.experiment_id))
                    self._refused = self._refused if self._unreached else refused
            if self._unreached:
                self._unreached += f" ({len(backlog)} runs wait)"
                return False
            backlog.popleft()
        return True

    def _connect(self) -> None:
        _quiet_environment()
        from mlflow.entities import ViewType
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=self.uri)
        experiment = client.get_experiment_by_name(self.experiment)
        if experiment is None:
            location = self._artifacts.resolve().as_uri() if self._artifacts else None
            self.experiment_id = client.create_experiment(
                self.experiment, artifact_location=location, tags=self._tags | self._views
            )
            _tune_sqlite(self.uri)
            self._client = client
            return
        self.experiment_id = experiment.experiment_id
        for name, value in self._views.items():  # the description may have been edited since: it stays
            if experiment.tags.get(name) != value:
                client.set_experiment_tag(self.experiment_id, name, value)
        _tune_sqlite(self.uri)
        token = None
        while True:
            page = client.search_runs(
                [self.experiment_id], run_view_type=ViewType.ACTIVE_ONLY, max_results=RUNS_PER_PAGE, page_token=token
            )
            for run in page:
                self._known[run.data.tags.get(KEY_TAG)] = (run.info.run_id, run.info.status)
            token = page.token
            if not token:
                break
        self._client = client

    def _write(self, run: Run) -> None:
        from mlflow.entities import Metric, Param

        client = self._client
        run_id, status = self._known.get(run.key, (None, None))
        if status in ("FINISHED", "FAILED", "KILLED"):
            return
        if run_id is not None:  # a coordinator died half-way through it
            client.delete_run(run_id)
        now = int(time.time() * 1000)
        start = now - int(run.seconds * 1000)
        tags = {KEY_TAG: run.key, **run.tags}
        run_id = client.create_run(self.experiment_id, start_time=start, tags=tags, run_name=run.name).info.run_id
        self._known[run.key] = (run_id, "RUNNING")
        metrics = [Metric(name, value, now, step) for name, value, step in run.metrics]
        params = [Param(name, str(value)[:PARAMETER_LIMIT]) for name, value in run.params.items()]
        for first in range(0, max(len(metrics), 1), METRICS_PER_BATCH):
            chunk = metrics[first : first + METRICS_PER_BATCH]
            client.log_batch(run_id, metrics=chunk, params=params if first == 0 else ())
        if self._dataset:
            client.log_inputs(run_id, datasets=[_dataset_input(*self._dataset)])
        for file, folder in run.artifacts:
            client.log_artifact(run_id, file, folder or None)
        client.set_terminated(run_id, run.status, end_time=now)
        self._known[run.key] = (run_id, run.status)


def _fault_of(action: Callable[[], Any]) -> str | None:
    """Do it, and return why that failed: a broken view must not stop a study, as the journal has the truth."""
    try:
        action()
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return None


def _dataset_input(name: str, fingerprint: str):
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"fingerprint": fingerprint})
    dataset = Dataset(name=name, digest=fingerprint[:16], source_type="mlcompare", source=source)
    return DatasetInput(dataset, tags=[InputTag("mlflow.data.context", "study")])


def _tune_sqlite(uri: str) -> None:
    """Readers (the dashboard) and the writer then don't block each other; the mode stays in the file."""
    if uri.startswith("sqlite:///"):
        connection = sqlite3.connect(uri.removeprefix("sqlite:///"), timeout=30)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.close()


def server_command(store: Path, host: str, port: int) -> tuple[list[str], dict[str, str]]:
    """Return the command and environment of a light MLflow server over a store.

    Raises:
        StoreError: the store has no runs to show.
    """
    if not (store / "mlflow.db").is_file():
        cure = "run a study first, or rebuild it with `mlcompare doctor --rebuild`"
        raise StoreError("the store must hold mlflow.db", value="none there", cure=cure, place=str(store))
    import sys

    command = [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", local_uri(store), "--host", host,
        "--port", str(port), "--workers", "1",
        "--serve-artifacts", "--artifacts-destination", str((store / "artifacts" / "mlflow").resolve()),
    ]  # fmt: skip
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return command, environment
