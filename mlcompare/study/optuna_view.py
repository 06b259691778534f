"""Optuna's own database as a view of the journal, for those who like its dashboard."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcompare.metrics import higher_is_better
from mlcompare.search.proposals import Told, optuna_study
from mlcompare.search.space import Choice, Range, Space
from mlcompare.study.config import StudyConfig
from mlcompare.study.job_record import reached
from mlcompare.tracking import Blank, database_uri, lay_empty

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

__all__ = ["write_optuna"]


def write_optuna(store: Path, config: StudyConfig, spaces: dict[str, Any], records: list[dict[str, Any]]) -> None:
    """Write ``optuna.db`` anew: one Optuna study for each loss, for those who like its dashboard."""
    temporary = store / ".optuna.db.tmp"
    for left in [temporary, *store.glob(f"{temporary.name}-*")]:  # by a coordinator that was killed
        left.unlink(missing_ok=True)
    maximize = higher_is_better(config.search.objective)
    lay_empty(temporary, OPTUNA)
    storage = _storage(temporary)
    try:
        for loss, described in spaces.items():
            space: Space = {name: _dimension(dimension) for name, dimension in described.items()}
            optuna_study(space, _told(loss, config, records), maximize=maximize, storage=storage, name=loss)
    finally:
        storage.engine.dispose()
    with temporary.open("rb") as written:
        os.fsync(written.fileno())
    temporary.replace(store / "optuna.db")


def _storage(path: Path) -> RDBStorage:
    """Return a storage that waits for no disk: the file takes its name only when it is whole."""
    from optuna.storages import RDBStorage

    def opened() -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=30, check_same_thread=False)
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA journal_mode=MEMORY")
        return connection

    return RDBStorage(database_uri(path), engine_kwargs={"creator": opened}, skip_compatibility_check=True)


def _told(loss: str, config: StudyConfig, records: list[dict[str, Any]]) -> list[Told]:
    """Return the trials of a loss that are whole, or were stopped."""
    objective, folds = config.search.objective, config.protocol.folds
    values: dict[int, list[float | None]] = {}
    mine = [record for record in records if record.get("loss") == loss]
    for record in mine:
        if record["type"] == "job" and record["kind"] == "trial":
            values.setdefault(record["trial"], []).append(reached(record, objective))
    stopped = {record["trial"]: record["folds"] for record in mine if record["type"] == "stop"}
    told = []
    for ask in (record for record in mine if record["type"] == "ask"):
        scores, early = values.get(ask["trial"], []), stopped.get(ask["trial"], 0)
        if early or len(scores) == folds:
            known = [score for score in scores if score is not None]
            mean = None if len(known) < len(scores) else sum(known) / len(known)
            told.append(Told(ask["trial"], ask["hyperparameters"], mean, early))
    return told


def _dimension(described: Any) -> Any:
    if isinstance(described, dict) and "low" in described:
        return Range(**described)
    if isinstance(described, dict) and "values" in described:
        return Choice(tuple(described["values"]), described["default"])
    return described


def _make_empty(path: Path) -> None:
    from optuna.storages import RDBStorage

    RDBStorage(f"sqlite:///{path}").engine.dispose()


OPTUNA = Blank("optuna", "storages/_rdb/alembic/versions", "studies", _make_empty)
