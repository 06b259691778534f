"""Whether a store's own database has a study's runs already: read by SQLite, as MLflow takes seconds to import."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path

from mlcompare.tracking.artifacts_home import strayed
from mlcompare.tracking.database import read_only
from mlcompare.tracking.records import ENDED, IDENTITY_TAG, KEY_TAG, Experiment, Run

__all__ = ["logged_before"]

TAGS = (KEY_TAG, IDENTITY_TAG, "source")


def logged_before(database: Path, experiment: Experiment, runs: Iterable[Run]) -> str | None:
    """Return the experiment's number where the database has all runs as they would be logged; None where it may not."""
    if not database.is_file() or strayed(database, experiment.location() or ""):
        return None
    with suppress(sqlite3.Error), closing(read_only(database)) as known:
        query = "SELECT experiment_id FROM experiments WHERE name = ? AND lifecycle_stage = 'active'"
        found = known.execute(query, (experiment.name,)).fetchone()
        if found is None:
            return None
        tags = dict(known.execute("SELECT key, value FROM experiment_tags WHERE experiment_id = ?", found))
        if any(tags.get(name) != value for name, value in experiment.views.items()):
            return None
        there = _runs_there(known, found[0])
        if all(_is_there(run, experiment, there) for run in runs):
            return str(found[0])
    return None


def _runs_there(known: sqlite3.Connection, number: int) -> dict[tuple, tuple[str, str | None, set[str]]]:
    """Return (key, identity) → status, source and metrics' names of the runs that nobody has deleted."""
    where = "run_uuid IN (SELECT run_uuid FROM runs WHERE experiment_id = ? AND lifecycle_stage = 'active')"
    tags: dict[str, dict[str, str]] = defaultdict(dict)
    for run, name, value in known.execute(
        f"SELECT run_uuid, key, value FROM tags WHERE key IN (?, ?, ?) AND {where}", (*TAGS, number)
    ):
        tags[run][name] = value
    metrics: dict[str, set[str]] = defaultdict(set)
    for run, name in known.execute(f"SELECT run_uuid, key FROM latest_metrics WHERE {where}", (number,)):
        metrics[run].add(name)
    return {
        (tags[run].get(KEY_TAG), tags[run].get(IDENTITY_TAG)): (status, tags[run].get("source"), metrics[run])
        for run, status in known.execute(f"SELECT run_uuid, status FROM runs WHERE {where}", (number,))
    }


def _is_there(run: Run, experiment: Experiment, there: dict[tuple, tuple[str, str | None, set[str]]]) -> bool:
    """Whether logging a run would change nothing: it ended, as it should, by the same setting and with every metric."""
    status, source, metrics = there.get((run.key, experiment.identity(run)), ("", None, set()))
    ended = status in ENDED and (status != "FAILED" or run.status == "FAILED")
    return ended and source == run.tags.get("source") and {name for name, _, _ in run.metrics} <= metrics
