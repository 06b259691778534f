"""MLflow's server over a store: the dashboard."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from importlib.metadata import entry_points
from pathlib import Path

from mlcompare.errors import StoreError
from mlcompare.tracking.artifacts_home import artifacts_address, bring_home
from mlcompare.tracking.database import database_uri

__all__ = ["server_command"]

APP = "mlcompare"  # among the entry points `mlflow.app`: see mlcompare.tracking.app


def server_command(store: Path, host: str, port: int) -> tuple[list[str], dict[str, str]]:
    """Return the command and environment of a light MLflow server over a store.

    The database of a store that was moved or copied is told where its artifacts are now. Where a store can't be
    written, what is served is a copy of its database, in a temporary folder.

    Raises:
        StoreError: the store has no runs to show.
    """
    if not (store / "mlflow.db").is_file():
        cure = "run a study first, or rebuild it with `mlcompare doctor --rebuild`"
        raise StoreError("the store must hold mlflow.db", value="none there", cure=cure, place=str(store))
    database = store / "mlflow.db"
    if not os.access(store, os.W_OK):
        database = Path(tempfile.mkdtemp(prefix="mlcompare-")) / database.name
        for suffix in ("", "-wal"):  # the last commits may still lie beside it
            if (kept := store / (database.name + suffix)).is_file():
                shutil.copyfile(kept, database.with_name(kept.name))
    bring_home(database, artifacts_address(store))
    command = [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", database_uri(database), "--host", host,
        "--port", str(port), "--workers", "1",
        "--serve-artifacts", "--artifacts-destination", str((store / "artifacts" / "mlflow").resolve()),
    ]  # fmt: skip
    if _is_installed():
        command += ["--app-name", APP]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return command, environment


def _is_installed() -> bool:
    """Whether MLflow finds our application: a checkout on the path alone has no entry points."""
    return any(point.name == APP for point in entry_points(group="mlflow.app"))
