"""What stands in a store that is not finished: during a run, or after one was interrupted."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlcompare.errors import StoreError
from mlcompare.study.config import StudyConfig, validated
from mlcompare.study.journal import JOURNAL, read_journal
from mlcompare.study.nested import OUTER, is_nested, join_parts, part_stores, whole_of
from mlcompare.study.results_table import write_tables
from mlcompare.study.store import STUDY, holder_of
from mlcompare.training.job import job_key

__all__ = ["bring_up_to_date", "goes_on", "unfinished"]


def bring_up_to_date(store: Path) -> str:
    """Make the tables of a store those of its journal; return what is unfinished in it, or nothing.

    A store that can't be written, or that came without its journal, stays as it is.
    """
    journal, results, first = store / JOURNAL, store / "results.parquet", store / OUTER / "0"
    if (store / STUDY).is_file():
        known = json.loads((store / STUDY).read_text(encoding="utf-8"))
        config = validated(known["study"], str(store / STUDY))
    elif (first / STUDY).is_file():  # a nested study's own tables are joined when its first part is done
        config = whole_of(first)
    else:
        return ""
    if is_nested(config):
        parts = {part.name: bring_up_to_date(part) if (part / STUDY).is_file() else "not begun"
                 for part in part_stores(store, config)}  # fmt: skip
        told = "; ".join(f"{name}: {told}" for name, told in parts.items() if told)
        if told:
            with suppress(OSError, StoreError):
                join_parts(store, config)
        return told
    if not journal.is_file():
        return ""
    records = read_journal(journal)
    left = unfinished(config, records)
    behind = left or not results.is_file() or results.stat().st_mtime < journal.stat().st_mtime  # a copy's dates lie
    if behind and any(record["type"] == "job" for record in records):
        with suppress(OSError, StoreError):
            write_tables(store, config.name, config.search.objective, records)
    return left


def goes_on(store: Path) -> str:
    """Say how an unfinished store gets done: by the run that holds it, or by the command that resumes it.

    Of a nested study a run holds one part at a time.
    """
    holder = next(filter(None, map(holder_of, (store, *sorted((store / OUTER).glob("*"))))), "")
    return f"it is running ({holder})" if holder else "`mlcompare run` with this store finishes it"


def unfinished(config: StudyConfig, records: list[dict[str, Any]]) -> str:
    """Name the losses whose search or final trainings are not done; empty if none."""
    opened = {r["loss"]: r["settings"] for r in records if r["type"] == "opening"}
    finals = {r["key"] for r in records if r["type"] == "job" and r["kind"] == "final"}
    searched: list[str] = []
    partly: dict[str, list[str]] = {}  # how many final runs there are → the losses
    for loss in config.losses:
        trials = {trial for trial in opened.get(loss, {}).values() if trial is not None}
        folds, seeds = range(config.protocol.folds), range(config.final.seeds)
        wanted = {
            job_key("final", loss, trial=t, fold=fold, seed=seed) for t in trials for fold in folds for seed in seeds
        }
        if loss not in opened:
            searched.append(loss)
        elif wanted - finals:
            partly.setdefault(f"{len(wanted & finals)} of {len(wanted)} final runs", []).append(loss)
    parts = [f"{', '.join(searched)} {'is' if len(searched) == 1 else 'are'} being searched"] if searched else []
    parts += [f"{', '.join(names)} {'has' if len(names) == 1 else 'have'} {done}" for done, names in partly.items()]
    return "; ".join(parts)
