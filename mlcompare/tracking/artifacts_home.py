"""Where a store's MLflow database says its artifacts lie: it keeps whole addresses, which are old in a moved store."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from mlcompare.tracking.database import read_only

__all__ = ["artifacts_address", "bring_home", "strayed"]

INNER = ("artifacts", "mlflow")  # of a store
TIMEOUT = 30.0  # seconds that another writer is waited for


def artifacts_address(store: Path) -> str:
    """Return the address of the artifacts of a store's runs.

    >>> artifacts_address(Path("/runs/quickstart"))
    'file:///runs/quickstart/artifacts/mlflow'
    """
    return store.joinpath(*INNER).resolve().as_uri()


def strayed(database: Path, home: str) -> list[str]:
    """Return the addresses in a database that were a store's own elsewhere: the store was moved or copied.

    Args:
        home: the address of the store's artifacts now; where it is empty, nothing has strayed.
    """
    if not home or not database.is_file():
        return []
    with suppress(sqlite3.Error), closing(read_only(database)) as known:
        rows = known.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
        end = "/" + "/".join(INNER)
        return sorted(place for (place,) in rows if place and place.endswith(end) and place != home)
    return []  # a broken database is told by those who check it, an empty one has no experiment


def bring_home(database: Path, home: str) -> int:
    """Write the address ``home`` in the place of those that strayed; return how many addresses there were.

    A database that can't be written stays as it is.
    """
    gone = strayed(database, home)
    if not gone:
        return 0
    with suppress(sqlite3.Error), closing(sqlite3.connect(database, timeout=TIMEOUT)) as opened, opened:
        for old in gone:
            opened.execute("UPDATE experiments SET artifact_location = ? WHERE artifact_location = ?", (home, old))
            opened.execute(
                "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) WHERE substr(artifact_uri, 1, ?) = ?",
                (home, len(old) + 1, len(old) + 1, f"{old}/"),
            )
            if opened.execute("SELECT 1 FROM sqlite_master WHERE name = 'model_versions'").fetchone():
                opened.execute(
                    "UPDATE model_versions SET source = ? || substr(source, ?) WHERE substr(source, 1, ?) = ?",
                    (home, len(old) + 1, len(old) + 1, f"{old}/"),
                )
        return len(gone)
    return 0
