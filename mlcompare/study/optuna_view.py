"""Optuna's own database as a view of the journal, for those who like its dashboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlcompare.evaluation import higher_is_better
from mlcompare.study.config import StudyConfig
from mlcompare.study.search import Told, optuna_study
from mlcompare.study.space import Choice, Range

__all__ = ["write_optuna"]


def write_optuna(store: Path, config: StudyConfig, spaces: dict[str, Any], records: list[dict[str, Any]]) -> None:
    """Write ``optuna.db`` anew: one Optuna study for each loss, for those who like its dashboard."""
    temporary = store / ".optuna.db.tmp"
    temporary.unlink(missing_ok=True)
    objective, folds = config.search.objective, config.protocol.folds
    values: dict[tuple[str, int], list[float | None]] = {}
    for record in records:
        if record["type"] == "job" and record["kind"] == "trial":
            values.setdefault((record["loss"], record["trial"]), []).append(record["metrics"].get(objective))
    asks = [r for r in records if r["type"] == "ask"]
    stopped = {(r["loss"], r["trial"]): r["folds"] for r in records if r["type"] == "stop"}
    for loss, space in spaces.items():
        told = []
        for ask in asks:
            scores = values.get((loss, ask["trial"]), [])
            early = stopped.get((loss, ask["trial"]), 0)
            if ask["loss"] == loss and (early or len(scores) == folds):
                mean = None if None in scores else sum(scores) / len(scores)
                told.append(Told(ask["trial"], ask["hyperparameters"], mean, early))
        optuna_study(
            {name: _dimension(d) for name, d in space.items()}, told,
            maximize=higher_is_better(objective), storage=f"sqlite:///{temporary.resolve()}", name=loss,
        )  # fmt: skip
    temporary.replace(store / "optuna.db")


def _dimension(described: Any) -> Any:
    if isinstance(described, dict) and "low" in described:
        return Range(**described)
    if isinstance(described, dict) and "values" in described:
        return Choice(tuple(described["values"]), described["default"])
    return described
