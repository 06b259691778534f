"""``optuna.db`` tells Optuna what the journal tells us."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import optuna
import pytest

from mlcompare.study.config import validated
from mlcompare.study.optuna_view import OPTUNA, write_optuna
from mlcompare.tracking import template

SPACE = {
    "lr": {"low": 1e-4, "high": 0.1, "default": 1e-3, "log": True},
    "negatives": {"low": 1, "high": 9, "default": 3, "integer": True},
    "miner": {"values": ["hard", "all", None], "default": "all"},
    "scale": 16.0,
}
SPACES = {"cosface": SPACE, "contrastive": {"margin": 0.5}, "triplet": SPACE}


def records() -> list[dict]:
    """Whole, failed, stopped and unfinished trials of two losses."""
    found = []
    for loss in ("cosface", "triplet"):
        for number in (1, 0, 2, 3, 4):  # a round's trials end in any order
            values = {"lr": 0.01 * (number + 1), "negatives": number + 1, "miner": ("hard", None)[number % 2]}
            found.append({"type": "ask", "loss": loss, "trial": number, "hyperparameters": {**values, "scale": 16.0}})
            for fold in range(1 if number >= 3 else 2):
                score = None if number == 2 and fold else 0.1 * number + 0.01 * fold
                metrics = {} if score is None else {"map_at_r": score}
                found.append({"type": "job", "kind": "trial", "loss": loss, "trial": number, "metrics": metrics})
        found.append({"type": "stop", "loss": loss, "trial": 3, "folds": 1})
    return found


def contents(path: Path) -> dict[str, list[tuple]]:
    """Return all rows of all tables, but for the clock and the ids that count parameters."""
    connection = sqlite3.connect(path)
    found = {}
    for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        columns = [column for _, column, *_ in connection.execute(f"PRAGMA table_info({table})")]
        kept = [f'"{c}"' for c in columns if not c.startswith("datetime") and c not in ("param_id", "trial_value_id")]
        found[table] = sorted(connection.execute(f"SELECT {', '.join(kept)} FROM {table}"), key=repr)
    connection.close()
    return found


@pytest.fixture
def config(tiny: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return validated(tiny, "study")


def test_optuna_reads_what_was_told(config, tmp_path: Path) -> None:
    (tmp_path / ".optuna.db.tmp-journal").write_bytes(b"of a coordinator that was killed")
    write_optuna(tmp_path, config, SPACES, records())
    study = optuna.load_study(study_name="cosface", storage=f"sqlite:///{tmp_path}/optuna.db")
    assert study.direction.name == "MAXIMIZE"
    assert [trial.number for trial in study.trials] == [0, 1, 2, 3]
    assert [trial.value for trial in study.trials] == [pytest.approx(0.005), pytest.approx(0.105), None, None]
    assert study.trials[3].intermediate_values == {1: pytest.approx(0.3)}
    assert study.trials[1].params == {"lr": 0.02, "negatives": 2, "miner": None}
    assert study.trials[1].datetime_start <= study.trials[1].datetime_complete
    study.optimize(lambda trial: trial.suggest_float("lr", 1e-4, 0.1, log=True), n_trials=1)  # it goes on from there
    assert len(study.trials) == 5


def test_without_a_template_optuna_makes_its_tables(config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_optuna(tmp_path, config, SPACES, records())
    ours = contents(tmp_path / "optuna.db")
    file = template.template_file(OPTUNA, template.head_revision(OPTUNA))
    assert file.is_file()
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").touch()
    write_optuna(tmp_path, config, SPACES, records())
    assert contents(tmp_path / "optuna.db") == ours
    assert [path.name for path in tmp_path.iterdir() if "optuna" in path.name] == ["optuna.db"]
