"""The leaderboard as text: on a terminal, as CSV, as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlcompare.comparison import Comparison
from mlcompare.comparison.rows import UNFINISHED
from mlcompare.report.formats import p_value, valued
from mlcompare.report.records import records_csv, records_json

__all__ = ["print_ranking", "ranking_csv", "ranking_json", "ranking_records", "ranking_table"]

Symbols = Mapping[str, Mapping[str, tuple[str, str]]]
NAMELESS: Symbols = {}
COLUMNS = ("mark", "loss", "family", "mean", "interval", "untuned", "to best", "p", "selected setting")
DISPENSABLE = ("untuned", "family", "to best", "interval", "p")  # in a narrow terminal, in this order
MOST_NAME = 24  # of a loss's name that is kept on one line
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
    return "–" if value is None else f"{value:+z.3f}" if sign else f"{value:.3f}"


def print_ranking(comparison: Comparison, console: Console, symbols: Symbols = NAMELESS) -> None:
    """Print the leaderboard, which family leads, the reasons of failures, and the notes.

    ``symbols``: loss → hyperparameter → symbol and unit, for the selected settings.
    """
    settings = console.width >= WIDE
    console.print(ranking_table(comparison, settings=settings, width=console.width, symbols=symbols))
    marks = "★ best loss  ≈ not told apart from it (p is Holm-corrected for all pairs of losses)"
    if any(record["still_rising"] for record in ranking_records(comparison)):
        marks += "  ↗ still rising when training stopped"
    if settings and any(record["at_bound"] for record in ranking_records(comparison)):
        marks += "  * selected on the bound of its range"
    console.print(marks)
    if comparison.family is not None:
        console.print(comparison.family.sentence, soft_wrap=True, markup=False)
    for record in ranking_records(comparison):
        if record["reason"] and record["reason"] != UNFINISHED:  # a note names those
            console.print(f"{record['loss']}: {record['reason']}", style="red", soft_wrap=True, markup=False)
    for note in comparison.notes:
        console.print(f"note: {note}", style="dim", soft_wrap=True, markup=False)


def ranking_table(
    comparison: Comparison, *, settings: bool = True, width: int | None = None, symbols: Symbols = NAMELESS
) -> Table:
    """Return the leaderboard for a terminal, best first; ``settings`` adds a column of the selected ones.

    In a terminal of ``width`` columns the names of the losses stay, and other columns are left out for them.
    """
    title = f"{comparison.study}: {comparison.metric} on the sealed test classes"
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False
    )
    records = ranking_records(comparison)
    rows = [dict(zip(COLUMNS, _cells(record, comparison.best, symbols))) for record in records]
    titles = {**{name: name for name in COLUMNS}, "mark": "", "interval": f"{100 * comparison.confidence:g} % interval"}
    shown = [name for name in COLUMNS if settings or name != "selected setting"]
    if width is not None:
        shown = _fitting(shown, titles, rows, width)
    for name in shown:
        if name in ("loss", "selected setting"):  # what may be long is broken before a number is cut
            table.add_column(titles[name], overflow="fold", min_width=min(12, width or 12) if name == "loss" else None)
        else:
            table.add_column(titles[name], justify="left" if name in ("mark", "family") else "right", no_wrap=True)
    for record, row in zip(records, rows):
        table.add_row(*(Text(row[name]) for name in shown), style=_style(record, comparison.best))
    return table


def _fitting(names: list[str], titles: dict[str, str], rows: list[dict[str, str]], width: int) -> list[str]:
    """Leave out columns, the least needed first, until the losses' names have room in a terminal of ``width``."""
    longest = min(max((len(row["loss"]) for row in rows), default=4), MOST_NAME)
    widths = {name: 2 + max(len(titles[name]), *(len(row[name]) for row in rows), 1) for name in names}
    widths |= {"loss": 2 + longest, "selected setting": 0}
    kept = list(names)
    for name in DISPENSABLE:
        if name in kept and sum(widths[each] for each in kept) - 1 > width:
            kept.remove(name)
    return kept


def _style(record: dict[str, Any], best: str | None) -> str | None:
    return "dim" if record["family"] == "baseline" else "bold" if record["loss"] == best else None


def _cells(record: dict[str, Any], best: str | None, symbols: Symbols) -> list[str]:
    is_best = record["loss"] == best
    low, high = record["ci_low"], record["ci_high"]
    failed = record["mean"] is None
    return [
        ("★" if is_best else "≈" if record["indistinguishable_from_best"] else "")
        + ("↗" if record["still_rising"] else ""),
        record["loss"],
        record["family"] or "–",
        _number(record["mean"]),
        "–" if low is None else f"{low:.3f} – {high:.3f}",
        _number(record["default_mean"]),
        "" if is_best else _number(record["difference_to_best"], sign=True),
        p_value(record["p_value"]),
        (record["reason"] if failed else _setting(record, symbols.get(record["loss"], {}))) or "",
    ]


def _setting(record: dict[str, Any], symbols: Mapping[str, tuple[str, str]]) -> str:
    """Show the tuned numbers; a star marks one that was selected on the bound of its range."""
    values = (record["hyperparameters"] or {}).items()
    shown = {name: value for name, value in values if isinstance(value, int | float) and not isinstance(value, bool)}
    told = {name: valued(name, float(value), *symbols.get(name, ("", ""))) for name, value in shown.items()}
    return "  ".join(f"{text}{'*' if name in record['at_bound'] else ''}" for name, text in told.items())
