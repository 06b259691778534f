"""A comparison as a notebook shows it: one small HTML table and the answer."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlcompare.comparison.compare import Comparison

__all__ = ["ranking_html"]

HEADER = ("", "loss", "family", "mean", "interval", "untuned", "to best", "p", "selected setting")


def ranking_html(comparison: Comparison) -> str:
    """Return the ranking, best first, the family answer and the notes as HTML without styles of its own."""
    rows = [HEADER, *(_cells(record, comparison.best) for record in comparison.records())]
    tags = ["th"] + ["td"] * (len(rows) - 1)
    lines = ["<tr>" + "".join(f"<{tag}>{escape(c)}</{tag}>" for c in row) + "</tr>" for tag, row in zip(tags, rows)]
    title = f"{comparison.study}: {comparison.metric} on the sealed test classes"
    legend = f"★ best  ≈ indistinguishable from it (Holm-corrected); {100 * comparison.confidence:g} % intervals"
    answer = [comparison.family.sentence] if comparison.family else []
    paragraphs = [legend, *answer, *(f"Note: {note}" for note in comparison.notes)]
    table = f"<table><caption>{escape(title)}</caption>{''.join(lines)}</table>"
    return table + "".join(f"<p>{escape(text)}</p>" for text in paragraphs)


def _cells(record: dict[str, Any], best: str | None) -> tuple[str, ...]:
    is_best = record["loss"] == best
    mark = "★" if is_best else "≈" if record["indistinguishable_from_best"] else ""
    spread = "–" if record["ci_low"] is None else f"{record['ci_low']:.3f} – {record['ci_high']:.3f}"
    chosen = {name: value for name, value in (record["hyperparameters"] or {}).items() if isinstance(value, float)}
    setting = " ".join(f"{name}={value:.3g}" for name, value in chosen.items())
    untuned = _number(record["default_mean"])
    to_best = "" if is_best else _number(record["difference_to_best"], "+.3f")
    return (mark, record["loss"], record["family"], _number(record["mean"]), spread, untuned, to_best,
            _number(record["p_value"]), setting or record["reason"] or "")  # fmt: skip


def _number(value: float | None, form: str = ".3f") -> str:
    return "–" if value is None else format(value, form)
