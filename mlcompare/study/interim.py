"""What stands in a store that is not finished: during a run, or after one was interrupted."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlcompare.errors import StoreError
from mlcompare.study.journal import JOURNAL, read_journal
from mlcompare.study.stored_study import OUTER, STUDY, in_parts, stored_study

__all__ = ["bring_up_to_date", "goes_on", "unfinished"]


def bring_up_to_date(store: Path) -> str:
    """Make the tables of a store those of its journal; return what is unfinished in it, or nothing.

    A store that can't be written, or that came without its journal, stays as it is.
    """
    study = stored_study(store)
    if in_parts(study["protocol"]) if study else (store / OUTER / "0" / STUDY).is_file():
        return _parts_up_to_date(store, study)
    journal, results = store / JOURNAL, store / "results.parquet"
    if study is None or not journal.is_file():
        return ""
    records = read_journal(journal)
    left = unfinished(study, records)
    behind = left or not results.is_file() or results.stat().st_mtime < journal.stat().st_mtime  # a copy's dates lie
    if behind and any(record["type"] == "job" for record in records):
        from mlcompare.study.results_table import write_tables

        with suppress(OSError, StoreError):
            write_tables(store, study["name"], study["search"]["objective"], records)
    return left


def _parts_up_to_date(store: Path, study: dict[str, Any] | None) -> str:
    """Do so with a nested study: its own tables are joined when its first part is done."""
    from mlcompare.study.config import validated
    from mlcompare.study.nested import join_parts, part_stores, whole_of

    config = validated(study, str(store / STUDY)) if study else whole_of(store / OUTER / "0")
    parts = {
        part.name: bring_up_to_date(part) if (part / STUDY).is_file() else "not begun"
        for part in part_stores(store, config)
    }
    told = "; ".join(f"{name}: {told}" for name, told in parts.items() if told)
    if told:
        with suppress(OSError, StoreError):
            join_parts(store, config)
    return told


def goes_on(store: Path) -> str:
    """Say how an unfinished store gets done: by the run that holds it, or by the command that resumes it.

    Of a nested study a run holds one part at a time.
    """
    from mlcompare.study.store import holder_of

    holder = next(filter(None, map(holder_of, (store, *sorted((store / OUTER).glob("*"))))), "")
    return f"it is running ({holder})" if holder else "`mlcompare run` with this store finishes it"


def unfinished(study: Mapping[str, Any], records: list[dict[str, Any]]) -> str:
    """Name the losses whose search or final trainings are not done; empty if none."""
    opened = {r["loss"]: r["settings"] for r in records if r["type"] == "opening"}
    finals = {
        (r["loss"], r["trial"], r["fold"], r["seed"]) for r in records if r["type"] == "job" and r["kind"] == "final"
    }
    searched: list[str] = []
    partly: dict[str, list[str]] = {}  # how many final runs there are → the losses
    for loss in study["losses"]:
        trials = {trial for trial in opened.get(loss, {}).values() if trial is not None}
        folds, seeds = range(study["protocol"]["folds"]), range(study["final"]["seeds"])
        wanted = {(loss, trial, fold, seed) for trial in trials for fold in folds for seed in seeds}
        if loss not in opened:
            searched.append(loss)
        elif wanted - finals:
            partly.setdefault(f"{len(wanted & finals)} of {len(wanted)} final runs", []).append(loss)
    parts = [f"{', '.join(searched)} {'is' if len(searched) == 1 else 'are'} being searched"] if searched else []
    parts += [f"{', '.join(names)} {'has' if len(names) == 1 else 'have'} {done}" for done, names in partly.items()]
    return "; ".join(parts)
