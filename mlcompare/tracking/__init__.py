"""MLflow as a view: flat runs, written by one thread of their own. The only importer of MLflow."""

from __future__ import annotations

from mlcompare.tracking.address import check_address
from mlcompare.tracking.artifacts_home import artifacts_address, strayed
from mlcompare.tracking.database import database_uri, local_uri, read_only, registered_models, replace_database
from mlcompare.tracking.records import Run
from mlcompare.tracking.server import server_command
from mlcompare.tracking.template import Blank, lay_empty
from mlcompare.tracking.tracker import Tracker

__all__ = [
    "Blank",
    "Run",
    "Tracker",
    "artifacts_address",
    "check_address",
    "database_uri",
    "lay_empty",
    "local_uri",
    "read_only",
    "registered_models",
    "replace_database",
    "server_command",
    "strayed",
]
