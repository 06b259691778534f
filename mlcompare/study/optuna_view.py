"""Optuna's own database as a view of the journal, for those who like its dashboard.

Optuna writes a trial in some 16 ms; here all trials are rows of one transaction, into a copy of an empty database that
Optuna made. Where its tables are not those that we know, or a value is not finite, Optuna writes them itself.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from mlcompare.evaluation import higher_is_better
from mlcompare.study.config import StudyConfig
from mlcompare.study.search import Told, frozen_trials, optuna_study
from mlcompare.study.space import Choice, Range, Space
from mlcompare.tracking import Blank, lay_empty

__all__ = ["write_optuna"]

KNOWN = ("v3.2.0.a", 12)  # revision and version of the tables that rows are written into
Losses = Mapping[str, tuple[Space, list[Told]]]


def write_optuna(store: Path, config: StudyConfig, spaces: dict[str, Any], records: list[dict[str, Any]]) -> None:
    """Write ``optuna.db`` anew: one Optuna study for each loss, for those who like its dashboard."""
    temporary = store / ".optuna.db.tmp"
    for left in [temporary, *store.glob(f"{temporary.name}-*")]:  # by a coordinator that was killed
        left.unlink(missing_ok=True)
    maximize = higher_is_better(config.search.objective)
    losses = {
        loss: ({name: _dimension(dimension) for name, dimension in space.items()}, _told(loss, config, records))
        for loss, space in spaces.items()
    }
    lay_empty(temporary, OPTUNA)
    if not _write_rows(temporary, losses, maximize):
        for loss, (space, told) in losses.items():
            optuna_study(space, told, maximize=maximize, storage=f"sqlite:///{temporary.resolve()}", name=loss)
    temporary.replace(store / "optuna.db")


def _told(loss: str, config: StudyConfig, records: list[dict[str, Any]]) -> list[Told]:
    """Return the trials of a loss that are whole, or were stopped."""
    objective, folds = config.search.objective, config.protocol.folds
    values: dict[int, list[float | None]] = {}
    mine = [record for record in records if record.get("loss") == loss]
    for record in mine:
        if record["type"] == "job" and record["kind"] == "trial":
            values.setdefault(record["trial"], []).append(record["metrics"].get(objective))
    stopped = {record["trial"]: record["folds"] for record in mine if record["type"] == "stop"}
    told = []
    for ask in (record for record in mine if record["type"] == "ask"):
        scores, early = values.get(ask["trial"], []), stopped.get(ask["trial"], 0)
        if early or len(scores) == folds:
            mean = None if None in scores else sum(scores) / len(scores)
            told.append(Told(ask["trial"], ask["hyperparameters"], mean, early))
    return told


def _dimension(described: Any) -> Any:
    if isinstance(described, dict) and "low" in described:
        return Range(**described)
    if isinstance(described, dict) and "values" in described:
        return Choice(tuple(described["values"]), described["default"])
    return described


def _write_rows(path: Path, losses: Losses, maximize: bool) -> bool:
    """Write every study as rows; False where Optuna must do it."""
    objectives = [told.objective for _, trials in losses.values() for told in trials]
    if not path.is_file() or not all(value is None or math.isfinite(value) for value in objectives):
        return False
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        versions = connection.execute("SELECT version_num, schema_version FROM alembic_version, version_info")
        if versions.fetchall() != [KNOWN]:
            return False
        with connection:
            for number, (loss, (space, told)) in enumerate(losses.items(), start=1):
                direction = "MAXIMIZE" if maximize else "MINIMIZE"
                connection.execute("INSERT INTO studies (study_id, study_name) VALUES (?, ?)", (number, loss))
                connection.execute(
                    "INSERT INTO study_directions (direction, study_id, objective) VALUES (?, ?, 0)",
                    (direction, number),
                )
                _write_trials(connection, number, space, told)
    return True


def _write_trials(connection: sqlite3.Connection, study: int, space: Space, told: list[Told]) -> None:
    from optuna.distributions import distribution_to_json

    for number, trial in enumerate(frozen_trials(space, told)):
        start, end = (f"{moment:%Y-%m-%d %H:%M:%S.%f}" for moment in (trial.datetime_start, trial.datetime_complete))
        identity = connection.execute(
            "INSERT INTO trials (number, study_id, state, datetime_start, datetime_complete) VALUES (?, ?, ?, ?, ?)",
            (number, study, trial.state.name, start, end),
        ).lastrowid
        connection.executemany(
            "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) VALUES (?, ?, ?, ?)",
            [
                (identity, name, distribution.to_internal_repr(trial.params[name]), distribution_to_json(distribution))
                for name, distribution in trial.distributions.items()
            ],
        )
        if trial.values is not None:
            connection.execute(
                "INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (?, 0, ?, 'FINITE')",
                (identity, trial.values[0]),
            )
        connection.executemany(
            "INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type) "
            "VALUES (?, ?, ?, 'FINITE')",
            [(identity, step, value) for step, value in trial.intermediate_values.items()],
        )


def _make_empty(path: Path) -> None:
    from optuna.storages import RDBStorage

    RDBStorage(f"sqlite:///{path}").engine.dispose()


OPTUNA = Blank("optuna", "storages/_rdb/alembic/versions", "studies", _make_empty)
