"""The leaderboard as text: on a terminal, as CSV, as JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

from rich.table import Table

from mlcompare.comparison import Comparison

__all__ = ["ranking_csv", "ranking_json", "ranking_records", "ranking_table"]


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
    return json.dumps(ranking_records(comparison), indent=2, ensure_ascii=False)


def ranking_csv(comparison: Comparison) -> str:
    """Return the records as CSV; what is nested stands as JSON, what has no meaning stays empty."""
    records = ranking_records(comparison)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(records[0]), lineterminator="\n")
    writer.writeheader()
    for record in records:
        nested = {k: json.dumps(v, ensure_ascii=False) for k, v in record.items() if isinstance(v, dict | list)}
        writer.writerow({**record, **nested})
    return buffer.getvalue()


def _number(value: float | None, sign: bool = False) -> str:
    return "–" if value is None else f"{value:+.3f}" if sign else f"{value:.3f}"


def ranking_table(comparison: Comparison) -> Table:
    """Return the leaderboard for a terminal: losses and baselines in the order of their means."""
    level = f"{100 * comparison.confidence:g} % interval"
    table = Table(title=f"{comparison.study}: {comparison.metric} on the sealed test classes", title_justify="left")
    for name, justify in (
        ("", "left"), ("loss", "left"), ("family", "left"), ("mean", "right"), (level, "center"), ("untuned", "right"),
        ("to the best", "right"), ("p", "right"), ("selected setting", "left"),
    ):  # fmt: skip
        table.add_column(name, justify=justify, overflow="fold")
    for record in ranking_records(comparison):
        baseline = record["family"] == "baseline"
        best = record["loss"] == comparison.best
        mark = "★" if best else "≈" if record["indistinguishable_from_best"] else ""
        low, high = record["ci_low"], record["ci_high"]
        interval = "–" if low is None else f"{low:.3f} – {high:.3f}"
        setting = (
            record["reason"] if record["mean"] is None else _setting(record["hyperparameters"], record["at_bound"])
        )
        table.add_row(
            mark, record["loss"], record["family"], _number(record["mean"]), interval, _number(record["default_mean"]),
            "" if best else _number(record["difference_to_best"], sign=True), _number(record["p_value"]), setting or "",
            style="dim" if baseline else "bold" if best else None,
        )  # fmt: skip
    return table


def _setting(values: dict[str, Any] | None, at_bound: list[str]) -> str:
    """Show the tuned numbers; a star marks one that was selected on the bound of its range."""
    shown = {k: v for k, v in (values or {}).items() if isinstance(v, float)}
    return " ".join(f"{name}={value:.3g}{'*' if name in at_bound else ''}" for name, value in shown.items())
