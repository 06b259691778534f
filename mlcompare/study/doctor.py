"""Check a store, and make its views anew from the journal."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mlcompare.data.hints import hint
from mlcompare.errors import MLCompareError, StoreError
from mlcompare.files import check_folder
from mlcompare.study.class_scores import missing_scores
from mlcompare.study.config import StudyConfig, validated
from mlcompare.study.interim import goes_on, unfinished
from mlcompare.study.journal import JOURNAL, read_journal
from mlcompare.study.logged_names import logged_names
from mlcompare.study.nested import is_nested, join_parts, part_stores
from mlcompare.study.optuna_view import write_optuna
from mlcompare.study.results_table import write_tables
from mlcompare.study.store import Store, holder_of
from mlcompare.study.stored_study import STUDY
from mlcompare.study.symbols import keep_symbols
from mlcompare.study.tracked import tracker_of
from mlcompare.tracking import artifacts_address, read_only, registered_models, replace_database, strayed
from mlcompare.tracking.study_runs import runs_of

__all__ = ["check_store", "rebuild_views"]


def _study(store: Path) -> tuple[StudyConfig, dict[str, Any]]:
    try:
        fingerprint = json.loads((store / STUDY).read_text(encoding="utf-8"))
        return validated(fingerprint["study"], str(store / STUDY)), fingerprint
    except FileNotFoundError:
        cure = hint(store) or "check the path"
        raise StoreError("a store holds study.json", value="none there", cure=cure, place=str(store)) from None
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, MLCompareError):
            raise
        raise StoreError("study.json is readable", value=type(error).__name__, place=str(store / STUDY)) from None


def check_store(store: str | Path) -> list[str]:
    """Return one line for each thing checked; a line that starts with ``fault`` names something to fix.

    Raises:
        StoreError: there is no store, or its journal is damaged.
    """
    store = Path(store).expanduser()
    config, _ = _study(store)
    if is_nested(config):
        return [f"{part.name}: {line}" for part in part_stores(store, config) for line in _part_lines(part)]
    records = read_journal(store / JOURNAL)
    jobs = [r for r in records if r["type"] == "job"]
    if not jobs and _table_rows(store):
        return [f"fault: {store / JOURNAL} is missing or empty beside full tables: bring it back from a copy"]
    failed = [r for r in jobs if r["status"] == "failed"]
    twice = len(jobs) - len({r["key"] for r in jobs})
    asks = sum(r["type"] == "ask" for r in records)
    lines = [f"ok: the journal of {config.name!r}: {asks} trials asked, {len(jobs)} trainings, {len(failed)} failed"]
    lines += [f"fault: {name} is missing: bring it back from a copy" for name in missing_scores(records, store)]
    lines += [f"fault: {twice} trainings stand twice in the journal"] if twice else []
    lines += [f"  failed: {r['key']}: {r['reason']}" for r in failed[:20]]
    left = unfinished(config.model_dump(), records)
    lines += [f"unfinished: {left}; {goes_on(store)}"] if left else []
    if holder_of(store):
        return [*lines, "tables and databases are views that this run is writing: they are checked once it has ended"]
    makes = "the run that finishes the study makes it" if left else "--rebuild makes it"
    lines += [_check_database(store / name, makes) for name in ("mlflow.db", "optuna.db")]
    lines += [
        f"moved: mlflow.db has its artifacts at {place}: the store was moved or copied; its `mlcompare dashboard`, its "
        "next run or --rebuild puts that right"
        for place in strayed(store / "mlflow.db", artifacts_address(store))
    ]
    for name in ("results.parquet", "per_class.parquet"):
        lines.append(f"ok: {name}" if (store / name).is_file() else f"missing: {name}; {makes}")
    return lines


def _part_lines(part: Path) -> list[str]:
    return check_store(part) if (part / STUDY).is_file() else ["unfinished: not begun; `mlcompare run` goes on with it"]


def _table_rows(store: Path) -> int:
    """How many rows the results table has; 0 where there is none, or it can't be read."""
    path = store / "results.parquet"
    with suppress(OSError, pa.ArrowInvalid):
        return int(pq.read_metadata(path).num_rows)
    return 0


def _check_database(path: Path, makes: str) -> str:
    if not path.is_file():
        return f"missing: {path.name}; {makes}"
    try:
        with closing(read_only(path)) as connection:
            verdict = connection.execute("PRAGMA quick_check").fetchone()[0]
    except sqlite3.DatabaseError as error:
        verdict = str(error)
    return f"ok: {path.name}" if verdict == "ok" else f"fault: {path.name}: {verdict}; --rebuild makes it anew"


def rebuild_views(store: str | Path) -> str:
    """Make tables, MLflow's and Optuna's databases anew from the journal; return what was made.

    Raises:
        StoreError: a coordinator holds the store, it can't be written, or the journal is damaged.
    """
    store = Path(store).expanduser()
    config, fingerprint = _study(store)
    if is_nested(config):
        told = [f"{part.name}: {rebuild_views(part)}" for part in part_stores(store, config) if part.is_dir()]
        join_parts(store, config)
        return "\n".join(told)
    if not any(r["type"] == "job" for r in read_journal(store / JOURNAL)) and _table_rows(store):
        cure = "bring journal.jsonl back from a copy: without it the tables are all that is left, and stay as they are"
        rule = "tables are made from the journal"
        raise StoreError(rule, value="no training in it, beside full tables", cure=cure, place=str(store / JOURNAL))
    cure = "copy it to where it can be written, and rebuild the copy"
    check_folder(store, "views are written into the store", cure=cure, place=store)
    with Store(store) as opened:
        shutil.rmtree(store / "artifacts" / "mlflow", ignore_errors=True)
        objective = config.search.objective
        write_tables(store, config.name, objective, opened.records)
        keep_symbols(store, config.losses)
        fresh = store / f".mlflow.{os.getpid()}.db"
        tracker = tracker_of(store, {**fingerprint, "study": config.model_dump(mode="json")}, database=fresh)
        names = logged_names(config.losses)
        runs = list(runs_of(opened.records, config.protocol.folds, objective, store, names))
        for run in runs:
            tracker.log(run)
        write_optuna(store, config, fingerprint["spaces"], opened.records)
        fault = tracker.close()
        if fault:
            raise StoreError("every view must be rebuilt", value=fault, place=str(store))
        models = registered_models(store / "mlflow.db")
        replace_database(fresh, store / "mlflow.db")
    lost = f"; no part of the journal: registered models ({', '.join(models)}), register them again" if models else ""
    return f"rebuilt: results.parquet, per_class.parquet, optuna.db, mlflow.db with {len(runs)} runs{lost}"
