"""The thread that writes a study's runs."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mlcompare.tracking.client import MLFLOW, ClientWriter
from mlcompare.tracking.database import local_path, watch_connections
from mlcompare.tracking.logged_before import logged_before
from mlcompare.tracking.records import Experiment, Run
from mlcompare.tracking.template import lay_empty

__all__ = ["Tracker"]

RETRY_SECONDS = 5.0  # how long a server that is out of reach is left alone


class Tracker:
    """Writes runs in a thread of its own; a study never waits for it, and never fails because of it.

    Args:
        uri: where to log; see :func:`mlcompare.tracking.local_uri`.
        experiment: the experiment's name, one for each study.
        description: Markdown shown on the experiment's page; see :func:`mlcompare.tracking.description.describe`.
        views: further tags of the experiment, such as the page's shared views.
        artifacts: where a local store keeps run artifacts; ``None`` leaves it to the server.
        dataset: name and fingerprint, noted on every run.
        identities: loss → what tells its runs from those of another study of this name on the same server; the key
            ``""`` is that of other runs.
        origin: tags of every run that say where it comes from.

    While a server is out of reach the runs wait, and are written when it is back. What could not be logged by the end
    is named by :meth:`close`; the journal has it, and the next start catches up by ``trial_key``.
    """

    def __init__(
        self, uri: str, experiment: str, *, description: str = "", artifacts: Path | None = None,
        dataset: tuple[str, str] | None = None, views: Mapping[str, str] | None = None,
        identities: Mapping[str, str] | None = None, origin: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.uri = uri
        told = (dict(views or {}), dict(identities or {}), dict(origin or {}))
        self._experiment = Experiment(experiment, description, artifacts, dataset, *told)
        self._queue: queue.Queue[Run | Callable[[], None] | None] = queue.Queue()
        self._refused: str | None = None
        self._unreached: str | None = None
        self._writer: ClientWriter | None = None
        self.experiment_id: str | None = None
        self.seconds = 0.0
        watch_connections()  # here, and not in the thread: others may be connecting to other databases by then
        self._thread = threading.Thread(target=self._write_all, name="tracking", daemon=True)
        self._thread.start()

    def log(self, run: Run) -> None:
        """Log a run soon; one that is already there and finished is left alone."""
        self._queue.put(run)

    def log_missing(self, runs: Sequence[Run]) -> None:
        """Log the runs of an earlier process that it may not have logged; MLflow isn't asked where none is missing."""
        path = local_path(self.uri)
        known = logged_before(path, self._experiment, runs) if path is not None else None
        self.experiment_id = known or self.experiment_id
        for run in runs if known is None else ():
            self.log(run)

    @property
    def versions(self) -> dict[str, str]:
        """The models that were registered, with their versions; read it once closed."""
        return dict(self._writer.versions) if self._writer else {}

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
            self._unreached = None if self._writer else _fault_of(self._connect)
            writer = self._writer
            if self._unreached is None and writer is not None:
                refused = _fault_of(partial(writer.write, backlog[0]))
                if refused:
                    self._unreached = _fault_of(writer.reach)
                    self._refused = self._refused if self._unreached else refused
            if self._unreached:
                self._unreached += f" ({len(backlog)} runs wait)"
                return False
            backlog.popleft()
        return True

    def _connect(self) -> None:
        path = local_path(self.uri)
        if path is not None:
            lay_empty(path, MLFLOW)
        self._writer = ClientWriter(self.uri, self._experiment)
        self.experiment_id = self._writer.experiment_id


def _fault_of(action: Callable[[], Any]) -> str | None:
    """Do it, and return why that failed: a broken view must not stop a study, as the journal has the truth."""
    try:
        action()
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return None
