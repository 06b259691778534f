"""The leaderboard as text: on a terminal, as CSV, as JSON."""

from __future__ import annotations

import math
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlcompare.comparison import Comparison
from mlcompare.report.records import records_csv, records_json

__all__ = ["print_ranking", "ranking_csv", "ranking_json", "ranking_records", "ranking_table"]

WIDE = 120  # columns from which the selected settings fit into the ranking


def _plain(value: Any) -> Any:
    """Return a value that JSON knows: no NaN, no numpy."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def ranking_records(comparison: Comparison) -> list[dict[str, Any]]:
    """Return one plain record for each loss or baseline, best first."""
    return [_plain(record) for record in comparison.records()]


def ranking_json(comparison: Comparison) -> str:
    """Return the records as a JSON list."""
    return records_json(ranking_records(comparison))


def ranking_csv(comparison: Comparison) -> str:
    """Return the records as CSV; what is nested stands as JSON, what has no meaning stays empty."""
    return records_csv(ranking_records(comparison))


def _number(value: float | None, sign: bool = False) -> str:
    return "–" if value is None else f"{value:+.3f}" if sign else f"{value:.3f}"


def print_ranking(comparison: Comparison, console: Console) -> None:
    """Print the leaderboard, which family leads, the reasons of failures, and the notes."""
    settings = console.width >= WIDE
    console.print(ranking_table(comparison, settings=settings))
    marks = "★ best loss  ≈ not told apart from it (p is Holm-corrected for all pairs of losses)"
    if any(record["still_rising"] for record in ranking_records(comparison)):
        marks += "  ↗ still rising when training stopped"
    if settings and any(record["at_bound"] for record in ranking_records(comparison)):
        marks += "  * selected on the bound of its range"
    console.print(marks)
    if comparison.family is not None:
        console.print(comparison.family.sentence, soft_wrap=True, markup=False)
    for record in ranking_records(comparison):
        if record["reason"]:
            console.print(f"{record['loss']}: {record['reason']}", style="red", soft_wrap=True, markup=False)
    for note in comparison.notes:
        console.print(f"note: {note}", style="dim", soft_wrap=True, markup=False)


def ranking_table(comparison: Comparison, *, settings: bool = True) -> Table:
    """Return the leaderboard for a terminal, best first; ``settings`` adds a column of the selected ones."""
    title = f"{comparison.study}: {comparison.metric} on the sealed test classes"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("loss", overflow="fold")  # a long name is broken before a number is cut
    table.add_column("family", no_wrap=True)
    for name in ("mean", f"{100 * comparison.confidence:g} % interval", "untuned", "to best", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    if settings:
        table.add_column("selected setting", overflow="fold")
    for record in ranking_records(comparison):
        cells = [Text(cell) for cell in _cells(record, comparison.best, settings)]
        table.add_row(*cells, style=_style(record, comparison.best))
    return table


def _style(record: dict[str, Any], best: str | None) -> str | None:
    return "dim" if record["family"] == "baseline" else "bold" if record["loss"] == best else None


def _cells(record: dict[str, Any], best: str | None, settings: bool) -> list[str]:
    is_best = record["loss"] == best
    low, high = record["ci_low"], record["ci_high"]
    cells = [
        ("★" if is_best else "≈" if record["indistinguishable_from_best"] else "")
        + ("↗" if record["still_rising"] else ""),
        record["loss"],
        record["family"] or "–",
        _number(record["mean"]),
        "–" if low is None else f"{low:.3f} – {high:.3f}",
        _number(record["default_mean"]),
        "" if is_best else _number(record["difference_to_best"], sign=True),
        _number(record["p_value"]),
    ]
    if settings:
        failed = record["mean"] is None
        cells.append((record["reason"] if failed else _setting(record["hyperparameters"], record["at_bound"])) or "")
    return cells


def _setting(values: dict[str, Any] | None, at_bound: list[str]) -> str:
    """Show the tuned numbers; a star marks one that was selected on the bound of its range."""
    shown = {k: v for k, v in (values or {}).items() if isinstance(v, float)}
    return " ".join(f"{name}={value:.3g}{'*' if name in at_bound else ''}" for name, value in shown.items())
