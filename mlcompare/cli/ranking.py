"""What `run` and `results` print when a study stands: the ranking, failures, and a report."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from mlcompare.comparison import Comparison

__all__ = ["any_result", "compared", "leave_report", "print_failures", "print_ranking", "what_is_left", "what_is_there"]


def print_failures(store: Path, console: Console) -> None:
    """Say how many trainings failed, where the reasons are, and how to have them run again."""
    from mlcompare.study import read_journal

    failed = sum(r["type"] == "job" and r["status"] == "failed" for r in read_journal(store / "journal.jsonl"))
    if failed:
        told = f"{failed} trainings failed: `mlcompare doctor {quote(str(store))}` says why"
        console.print(
            f"{told}; once the cause is fixed, run again with --retry-failed",
            style="yellow",
            soft_wrap=True,
            markup=False,
        )


def any_result(store: Path) -> bool:
    """Whether the final training of any loss succeeded."""
    from mlcompare.comparison import load_results
    from mlcompare.errors import DataError

    try:
        rows = load_results(store)
    except DataError:  # a table without a row
        return False
    return bool(((rows["kind"] == "final") & (rows["status"] == "ok")).any())


def leave_report(store: Path, tracking_uri: str | None, console: Console, *, anew: bool = False) -> Path:
    """Write the report of a finished study and log it with its tables, where that isn't done yet, or ``anew``."""
    from mlcompare.report import write_report
    from mlcompare.report.tables import ranking_csv
    from mlcompare.report.verdict import leader_sentence
    from mlcompare.study.tracked import stored_fingerprint, tracker_of
    from mlcompare.tracking.comparison_run import log_comparison

    path, ranking = store / "report.html", store / "ranking.csv"  # `mlcompare report` writes the first alone
    changed = max((store / name).stat().st_mtime for name in ("results.parquet", "study.json"))  # words may be new, too
    if not anew and all(file.is_file() and file.stat().st_mtime > changed for file in (path, ranking)):
        return path
    with console.status("writing the report"):
        comparison = compared(store)
        ranking.write_text(ranking_csv(comparison), encoding="utf-8")
        write_report([store])
        family, best = comparison.family, next((r for r in comparison.records() if r["loss"] == comparison.best), None)
        sentence = family.sentence if family else leader_sentence(comparison)
        tracker = tracker_of(store, stored_fingerprint(store), tracking_uri)
        fault = log_comparison(tracker, store, best, sentence)
    if fault:
        console.print(f"MLflow could not log the comparison ({fault})", style="yellow", markup=False)
    return path


def compared(store: Path) -> Comparison:
    """Return the comparison of a store."""
    from mlcompare.comparison import compare

    return compare(store)


def what_is_left(store: Path) -> str:
    """Make a store's tables those of its journal; say what is unfinished in it, and how it gets done."""
    from mlcompare.study.interim import bring_up_to_date, goes_on

    left = bring_up_to_date(store)
    return f"unfinished: {left}; this is of what is there, and {goes_on(store)}" if left else ""


def what_is_there(store: Path) -> str:
    """Do as :func:`what_is_left`, and refuse a store of which no training has finished yet."""
    told = what_is_left(store)
    if told and not (store / "results.parquet").is_file():
        from mlcompare.errors import StoreError
        from mlcompare.study.interim import goes_on

        rule = "a ranking needs a finished training"
        raise StoreError(rule, value="none yet", cure=goes_on(store), place=str(store))
    return told


def print_ranking(store: Path, console: Console) -> None:
    """Print the ranking of a store; of an unfinished one, what is there."""
    told = what_is_there(store)
    if told:
        console.print(told, style="yellow", soft_wrap=True, markup=False)
    from mlcompare.comparison import load_results
    from mlcompare.comparison.stored import load_symbols
    from mlcompare.report import tables
    from mlcompare.report.dimensions import dimension_table, level_table

    comparison = compared(store)
    tables.print_ranking(comparison, console, load_symbols(store))
    results = load_results(store)
    for table in (dimension_table(results, comparison.metric), level_table(results, comparison.metric)):
        if table is not None:
            console.print(table)
