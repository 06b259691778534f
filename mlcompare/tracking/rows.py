"""Runs written straight into a store's own database, for the revision of MLflow's tables that we know.

MLflow's client opens nine sessions and thirty-nine statements for one run; here a run is one transaction of a
millisecond, and MLflow need not be imported. The rows are those that the client writes, which a test compares table by
table. Whatever is out of the ordinary is left to the client: another revision, an experiment or a run that MLflow may
not accept, a run that an earlier coordinator left half-written.
"""

from __future__ import annotations

import math
import re
import shutil
import sqlite3
import time
import uuid
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

from mlcompare.tracking.client import MLFLOW, ClientWriter
from mlcompare.tracking.database import connect, local_path, revision
from mlcompare.tracking.records import CONTEXT, ENDED, KEY_TAG, Experiment, Run, dataset_fields
from mlcompare.tracking.template import lay_empty

__all__ = ["KNOWN", "RowWriter", "open_rows"]

KNOWN = {"dc11669786a5"}  # MLflow 3.17; a revision is added when the test of equal rows passes with it
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\- ]{0,249}")  # what MLflow accepts is wider
TEXT = 5000  # characters of a tag; MLflow's limits are wider
RUN = (
    "run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, end_time, "
    "source_version, lifecycle_stage, artifact_uri, experiment_id"
)


def open_rows(uri: str, experiment: Experiment) -> RowWriter | None:
    """Return a writer of rows, with a new database from a template where there is none; None where the client must.

    Raises:
        sqlite3.Error: the database is damaged, locked, or can't be written.
    """
    path = local_path(uri)
    if path is None:
        return None
    lay_empty(path, MLFLOW)
    if not path.is_file():
        return None
    connection = connect(path)
    try:
        found = _place(connection, experiment) if revision(connection) in KNOWN else None
    except BaseException:
        connection.close()
        raise
    if found is None:
        connection.close()
        return None
    return RowWriter(uri, experiment, connection, *found)


def _place(connection: sqlite3.Connection, experiment: Experiment) -> tuple[int, str] | None:
    """Return the experiment's id and the address of its artifacts, made where it is new; None where it is odd."""
    row = connection.execute(
        "SELECT experiment_id, artifact_location, lifecycle_stage FROM experiments "
        "WHERE name = ? AND workspace = 'default'", (experiment.name,),
    ).fetchone()  # fmt: skip
    location = row[1] if row else experiment.location()
    if (row and row[2] != "active") or not _is_folder(location):
        return None
    tags, kept = (experiment.views, {}) if row else (experiment.tags(), {"name": experiment.name})
    if not experiment.name or not _plain(tags, {**tags, **kept, "location": location}):
        return None
    now = int(time.time() * 1000)
    with connection:
        number = row[0] if row else connection.execute(
            "INSERT INTO experiments (name, artifact_location, lifecycle_stage, creation_time, last_update_time, "
            "workspace) VALUES (?, ?, 'active', ?, ?, 'default')", (experiment.name, location, now, now),
        ).lastrowid  # fmt: skip
        connection.executemany(
            "INSERT INTO experiment_tags (key, value, experiment_id) VALUES (?, ?, ?) "
            "ON CONFLICT (key, experiment_id) DO UPDATE SET value = excluded.value",
            [(key, value, number) for key, value in tags.items()],
        )
    return number, location


def _is_folder(location: str | None) -> bool:
    """Whether artifacts lie in a local folder, by an address that a run's folder can be joined to."""
    return bool(location) and location.startswith("file:///") and not set("?#") & set(location)


def _plain(names, texts) -> bool:
    """Whether MLflow accepts these without a second thought."""
    return all(map(NAME.fullmatch, names)) and all(len(text) <= TEXT for text in texts.values())


class RowWriter:
    """Writes each run as rows, in one transaction."""

    def __init__(
        self, uri: str, experiment: Experiment, connection: sqlite3.Connection, number: int, location: str
    ) -> None:
        self._uri, self._experiment, self._connection = uri, experiment, connection
        self._number, self._location = number, location
        self.experiment_id = str(number)
        self._client: ClientWriter | None = None
        self._dataset = self._dataset_id()
        self._known: dict[str, str] = dict(
            connection.execute(
                "SELECT tags.value, runs.status FROM runs JOIN tags USING (run_uuid) "
                "WHERE experiment_id = ? AND lifecycle_stage = 'active' AND key = ?", (number, KEY_TAG),
            )
        )  # fmt: skip

    def write(self, run: Run) -> None:
        """Write a run that is not there yet."""
        if self._known.get(run.key) in ENDED:
            return
        if run.key in self._known or not self._ordinary(run):
            self._client = self._client or ClientWriter(self._uri, self._experiment)
            self._client.write(run)
        else:
            identity = uuid.uuid4().hex
            self._keep_artifacts(identity, run)
            with self._connection:
                self._insert(identity, run, int(time.time() * 1000))
        self._known[run.key] = run.status

    def _ordinary(self, run: Run) -> bool:
        names = [*run.tags, *run.params, *(name for name, _, _ in run.metrics)]
        return (
            bool(run.name)
            and _plain(names, {**run.tags, "key": run.key, "name": run.name})
            and not any(name.startswith("mlflow.") for name in run.tags)
            and all(math.isfinite(value) for _, value, _ in run.metrics)
            and run.status in ENDED
        )

    def _insert(self, identity: str, run: Run, now: int) -> None:
        execute, many = self._connection.execute, self._connection.executemany
        address = f"{self._location.rstrip('/')}/{identity}/artifacts"
        execute(
            f"INSERT INTO runs ({RUN}) VALUES (?, ?, 'UNKNOWN', '', '', 'unknown', ?, ?, ?, '', 'active', ?, ?)",
            (identity, run.name, run.status, now - int(run.seconds * 1000), now, address, self._number),
        )
        tags = run.all_tags() | {"mlflow.runName": run.name}
        many(
            "INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)",
            [(key, value, identity) for key, value in tags.items()],
        )
        many(
            "INSERT INTO params (key, value, run_uuid) VALUES (?, ?, ?)",
            [(key, value, identity) for key, value in run.texts().items()],
        )
        metrics = {(name, float(value), int(step)): None for name, value, step in run.metrics}  # each once, in order
        latest: dict[str, tuple[int, float]] = {}
        for name, value, step in metrics:
            latest[name] = max(latest.get(name, (step, value)), (step, value))
        columns = "(key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, 0, ?)"
        many(f"INSERT INTO metrics {columns}", [(name, value, now, step, identity) for name, value, step in metrics])
        many(
            f"INSERT INTO latest_metrics {columns}",
            [(name, value, now, step, identity) for name, (step, value) in latest.items()],
        )
        if self._dataset:
            use = uuid.uuid4().hex
            execute(
                "INSERT INTO inputs (input_uuid, source_type, source_id, destination_type, destination_id, step) "
                "VALUES (?, 'DATASET', ?, 'RUN', ?, 0)", (use, self._dataset, identity),
            )  # fmt: skip
            execute("INSERT INTO input_tags (input_uuid, name, value) VALUES (?, ?, ?)", (use, *CONTEXT))

    def _dataset_id(self) -> str | None:
        """Return the id of the study's dataset in this experiment, noted where it is new."""
        if not self._experiment.dataset:
            return None
        fields = dataset_fields(*self._experiment.dataset)
        place = (self._number, fields["name"], fields["digest"])
        fresh = uuid.uuid4().hex
        with self._connection:
            self._connection.execute(
                "INSERT INTO datasets (dataset_uuid, experiment_id, name, digest, dataset_source_type, dataset_source) "
                "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (fresh, *place, fields["source_type"], fields["source"]),
            )
        found = self._connection.execute(
            "SELECT dataset_uuid FROM datasets WHERE experiment_id = ? AND name = ? AND digest = ?", place
        )
        return found.fetchone()[0]

    def _keep_artifacts(self, identity: str, run: Run) -> None:
        root = Path(url2pathname(urlparse(self._location).path), identity, "artifacts")
        for file, folder in run.artifacts:
            (root / folder).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, root / folder / Path(file).name)

    def reach(self) -> None:
        """Read the database: what is raised says why nothing can be written now."""
        self._connection.execute("SELECT count(*) FROM experiments").fetchone()

    def close(self) -> None:
        """Close the database, its journal written into it."""
        self._connection.close()
