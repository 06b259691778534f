"""MLflow's server over a store: the dashboard."""

from __future__ import annotations

import os
import sys
from importlib.metadata import entry_points
from pathlib import Path

from mlcompare.errors import StoreError
from mlcompare.tracking.artifacts_home import artifacts_address, bring_home
from mlcompare.tracking.database import local_uri

__all__ = ["server_command"]

APP = "mlcompare"  # among the entry points `mlflow.app`: see mlcompare.tracking.app


def server_command(store: Path, host: str, port: int) -> tuple[list[str], dict[str, str]]:
    """Return the command and environment of a light MLflow server over a store.

    The database of a store that was moved or copied is told where its artifacts are now.

    Raises:
        StoreError: the store has no runs to show.
    """
    if not (store / "mlflow.db").is_file():
        cure = "run a study first, or rebuild it with `mlcompare doctor --rebuild`"
        raise StoreError("the store must hold mlflow.db", value="none there", cure=cure, place=str(store))
    bring_home(store / "mlflow.db", artifacts_address(store))
    command = [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", local_uri(store), "--host", host,
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
