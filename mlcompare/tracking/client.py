"""Runs written by MLflow's own client, to a store's database or to a server."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcompare.tracking.artifacts_home import bring_home
from mlcompare.tracking.database import lighten_commits, local_path, share
from mlcompare.tracking.description import DIGEST_TAG, digest, filled
from mlcompare.tracking.records import CONTEXT, ENDED, IDENTITY_TAG, KEY_TAG, Experiment, Run, dataset_fields
from mlcompare.tracking.template import Blank

if TYPE_CHECKING:  # it takes seconds to import
    from mlflow.entities import DatasetInput

__all__ = ["MLFLOW", "ClientWriter"]

METRICS_PER_BATCH, RUNS_PER_PAGE = 1000, 1000
NOTE = "mlflow.note.content"


def _quiet_environment() -> None:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # the tracker itself waits and tries again
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")  # what goes wrong, `Tracker.close` says in one line


class ClientWriter:
    """Writes runs through MLflow's client, five calls and some 30 ms of processor time for each."""

    def __init__(self, uri: str, experiment: Experiment) -> None:
        _quiet_environment()
        from mlflow.tracking import MlflowClient

        path = local_path(uri)
        if path is not None:
            lighten_commits(path)
            bring_home(path, experiment.location() or "")
        self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        if path is not None:
            share(path)
        self._experiment, self._dataset = experiment, experiment.dataset
        self._known: dict[tuple[str | None, str | None], tuple[str, str, str | None]] = {}  # → run, status, source
        self._measured: dict[str, frozenset[str]] = {}  # run → its metrics' names
        self.versions: dict[str, str] = {}  # of models registered now
        found = self._client.get_experiment_by_name(experiment.name) or self._renamed(path)
        if found is None:
            self.experiment_id = self._client.create_experiment(
                experiment.name, artifact_location=experiment.location(), tags=experiment.tags()
            )
            self._describe(experiment.description)
            return
        self.experiment_id = found.experiment_id
        for name, value in experiment.views.items():  # the description may have been edited since: it stays
            if found.tags.get(name) != value:
                self._client.set_experiment_tag(self.experiment_id, name, value)
        self._read_known()

    def _renamed(self, path: Path | None) -> Any:
        """Give the experiment of a store's own database the study's new name; on a server, others have theirs."""
        others = [] if path is None else [it for it in self._client.search_experiments() if it.name != "Default"]
        if len(others) != 1:
            return None
        self._client.rename_experiment(others[0].experiment_id, self._experiment.name)
        return self._client.get_experiment(others[0].experiment_id)

    def _read_known(self) -> None:
        from mlflow.entities import ViewType

        token = None
        while True:
            page = self._client.search_runs(
                [self.experiment_id], run_view_type=ViewType.ACTIVE_ONLY, max_results=RUNS_PER_PAGE, page_token=token
            )
            for run in page:
                tags = run.data.tags
                key = (tags.get(KEY_TAG), tags.get(IDENTITY_TAG))
                self._known[key] = (run.info.run_id, run.info.status, tags.get("source"))
                self._measured[run.info.run_id] = frozenset(run.data.metrics)
            token = page.token
            if not token:
                return

    def _describe(self, text: str, run_id: str = "") -> None:
        """Write the experiment's description, unless a person has edited it since."""
        tags = self._client.get_experiment(self.experiment_id).tags
        known, text = tags.get(NOTE), filled(text, self.experiment_id, run_id)
        if known is not None and (known == text or digest(known) != tags.get(DIGEST_TAG)):
            return
        self._client.set_experiment_tag(self.experiment_id, NOTE, text)
        self._client.set_experiment_tag(self.experiment_id, DIGEST_TAG, digest(text))

    def write(self, run: Run) -> None:
        """Write a run, and what the experiment's page says once it is there."""
        run_id = self._write(run)
        if run.page:
            self._describe(run.page, run_id)
        if run.model:
            self._register(run, run_id)

    def _register(self, run: Run, run_id: str) -> None:
        """Register the artifacts of a run as the next version of a model, once."""
        from mlflow.exceptions import MlflowException

        client = self._client
        try:
            client.get_registered_model(run.model)
        except MlflowException:
            client.create_registered_model(run.model)
        versions = client.search_model_versions(f"name = '{run.model}'")
        found = next((version for version in versions if version.run_id == run_id), None)
        if found is None:
            source = f"{client.get_run(run_id).info.artifact_uri}/{run.artifacts[0][1]}"
            tags = {name: run.tags[name] for name in ("loss", "family", "study") if name in run.tags}
            found = client.create_model_version(run.model, source, run_id, tags=tags)
        self.versions[run.model] = str(found.version)

    def _write(self, run: Run) -> str:
        """Write a run that is not there yet, or anew where a coordinator died half-way through it; return its id.

        Of one that is there, only the source may have changed: an extended study selects anew.
        """
        from mlflow.entities import Metric, Param

        client = self._client
        identity, source = self._experiment.identity(run), run.tags.get("source")
        key = (run.key, identity)
        if key not in self._known and (run.key, None) in self._known:  # logged before runs had an identity
            key = (run.key, None)
        if key in self._known:
            run_id, status, known_source = self._known[key]
            more = {name for name, _, _ in run.metrics} - self._measured.get(run_id, frozenset())
            again = run.status != "FAILED" and (status == "FAILED" or bool(more))  # retried, or measured by more
            if status in ENDED and not again:
                if source != known_source:
                    client.set_tag(run_id, "source", source or "superseded")
                    self._known[key] = (run_id, status, source)
                return run_id
            client.delete_run(run_id)
        now = int(time.time() * 1000)
        start = now - int(run.seconds * 1000)
        tags = {**self._experiment.origin, **run.all_tags()} | ({IDENTITY_TAG: identity} if identity else {})
        created = client.create_run(self.experiment_id, start_time=start, tags=tags, run_name=run.name)
        run_id = created.info.run_id
        key = (run.key, identity)
        self._known[key] = (run_id, "RUNNING", source)
        metrics = [Metric(name, value, now, step) for name, value, step in run.metrics]
        params = [Param(name, text) for name, text in run.texts().items()]
        for first in range(0, max(len(metrics), 1), METRICS_PER_BATCH):
            chunk = metrics[first : first + METRICS_PER_BATCH]
            client.log_batch(run_id, metrics=chunk, params=params if first == 0 else ())
        if self._dataset:
            client.log_inputs(run_id, datasets=[_dataset_input(*self._dataset)])
        for file, folder in run.artifacts:
            client.log_artifact(run_id, file, folder or None)
        client.set_terminated(run_id, run.status, end_time=now)
        self._known[key] = (run_id, run.status, source)
        self._measured[run_id] = frozenset(metric.key for metric in metrics)
        return run_id

    def reach(self) -> None:
        """Ask for the experiment: what is raised says why nothing can be written now."""
        self._client.get_experiment(self.experiment_id)


def _dataset_input(name: str, fingerprint: str) -> DatasetInput:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    return DatasetInput(Dataset(**dataset_fields(name, fingerprint)), tags=[InputTag(*CONTEXT)])


def _make_empty(path: Path) -> None:
    _quiet_environment()
    from mlflow.tracking import MlflowClient

    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments(max_results=1)


MLFLOW = Blank("mlflow", "store/db_migrations/versions", "experiments", _make_empty)
