"""Addresses and files of SQLite databases."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

__all__ = [
    "database_uri",
    "lighten_commits",
    "local_path",
    "local_uri",
    "read_only",
    "registered_models",
    "replace_database",
    "revision",
    "share",
    "watch_connections",
]


def local_uri(store: Path) -> str:
    """Return the tracking URI of a store's own database; ``store`` is a folder, whatever its name ends in."""
    return database_uri(store / "mlflow.db")


def database_uri(path: Path) -> str:
    """Return the address of a database file; SQLAlchemy escapes what means something in addresses.

    >>> database_uri(Path("/runs/mlflow.db"))
    'sqlite:////runs/mlflow.db'
    """
    from sqlalchemy import URL

    return URL.create("sqlite", database=str(path.resolve())).render_as_string()


def local_path(uri: str) -> Path | None:
    """Return the database file that a tracking URI names, or None where it names another thing.

    >>> local_path("sqlite:////runs/quickstart/mlflow.db")
    PosixPath('/runs/quickstart/mlflow.db')
    >>> local_path("http://127.0.0.1:5000")
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(uri)
    except ArgumentError:
        return None
    place = url.database or ""
    return Path(place) if url.drivername == "sqlite" and place.startswith("/") and not url.query else None


def share(path: Path) -> None:
    """Let readers (the dashboard) and the writer of a database not block each other; the mode stays in the file."""
    connection = sqlite3.connect(path, timeout=30)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()


def lighten_commits(path: Path) -> None:
    """Have SQLAlchemy's connections to a database not wait for the disk at every commit.

    The last commits may be lost where the power fails, as the journal has them; the database stays whole. It is for
    connections that are made after :func:`watch_connections`.
    """
    _light.add(str(path.resolve()))


def watch_connections() -> None:
    """Have SQLAlchemy show each new connection to what :func:`lighten_commits` needs; once in a process.

    To be called where no other thread connects: SQLAlchemy walks through its listeners as they are added.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    if not event.contains(Engine, "connect", _lighten):  # it would listen twice
        event.listen(Engine, "connect", _lighten)


_light: set[str] = set()


def _lighten(connection: Any, _record: Any) -> None:
    if isinstance(connection, sqlite3.Connection):
        with suppress(sqlite3.Error):  # what is wrong with the file, MLflow says
            if connection.execute("PRAGMA database_list").fetchone()[2] in _light:
                connection.execute("PRAGMA synchronous=NORMAL")


def revision(connection: sqlite3.Connection) -> str | None:
    """Return the revision of a database's tables, as Alembic keeps it."""
    tables = connection.execute("SELECT name FROM sqlite_master WHERE name = 'alembic_version'").fetchall()
    found = connection.execute("SELECT version_num FROM alembic_version").fetchall() if tables else []
    return found[0][0] if len(found) == 1 else None


def read_only(path: Path) -> sqlite3.Connection:
    """Open a database to read it, on a medium that can't be written too: SQLite wants to leave files beside it there.

    Raises:
        sqlite3.Error: it can't be read.
    """
    mode = "mode=ro" if os.access(path.parent, os.W_OK) else "immutable=1"
    return sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True, timeout=30)


def registered_models(path: Path) -> list[str]:
    """Return the names of the models that are registered in a database; none where it can't be read."""
    with suppress(sqlite3.Error), closing(read_only(path)) as known:
        return [name for (name,) in known.execute("SELECT name FROM registered_models ORDER BY name")]
    return []


def replace_database(fresh: Path, old: Path) -> None:
    """Put a finished SQLite database in the place of another; nothing of the old one's journal is left beside it."""
    connection = sqlite3.connect(fresh, timeout=30)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    for path in (fresh, old):
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    fresh.replace(old)
