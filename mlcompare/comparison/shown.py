"""A comparison as ``print`` and as a notebook show it: one small table and the answer."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from mlcompare.comparison.sentences import leader_sentence

if TYPE_CHECKING:
    from mlcompare.comparison.compare import Comparison

__all__ = ["ranking_html", "ranking_text"]

NUMERIC = (3, 4, 5, 6, 7, 8)


def ranking_html(comparison: Comparison) -> str:
    """Return the ranking, best first, the answer and the notes as HTML without styles of its own."""
    rows = [_header(comparison, "selected setting"), *_rows(comparison)]
    tags = ["th"] + ["td"] * (len(rows) - 1)
    lines = ["<tr>" + "".join(f"<{tag}>{escape(c)}</{tag}>" for c in row) + "</tr>" for tag, row in zip(tags, rows)]
    table = f"<table><caption>{escape(_title(comparison))}</caption>{''.join(lines)}</table>"
    return table + "".join(f"<p>{escape(text)}</p>" for text in _paragraphs(comparison))


def ranking_text(comparison: Comparison) -> str:
    """Return the ranking, best first, the answer and the notes as plain text."""
    rows = [row[:-1] for row in (_header(comparison, ""), *_rows(comparison))]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(cell.rjust(w) if i in NUMERIC else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths)))
        for row in rows
    ]
    lines = [line.replace("  ", " ", 1) if line[1:3] == "  " else line for line in lines]  # one space behind the mark
    return "\n".join([_title(comparison), *(line.rstrip() for line in lines), *_paragraphs(comparison)])


def _title(comparison: Comparison) -> str:
    return f"{comparison.study}: {comparison.metric} on the sealed test classes"


def _paragraphs(comparison: Comparison) -> list[str]:
    legend = "★ best  ≈ not told apart from it. The last interval and p are corrected for all pairs of losses."
    answer = [comparison.family.sentence] if comparison.family else []
    return [legend, *answer, leader_sentence(comparison), *(f"Note: {note}" for note in comparison.notes)]


def _header(comparison: Comparison, last: str) -> tuple[str, ...]:
    percent = f"{100 * comparison.confidence:g} % interval"
    return "", "loss", "family", "mean", percent, "untuned", "to best", f"{percent}, all pairs", "p (Holm)", last


def _rows(comparison: Comparison) -> list[tuple[str, ...]]:
    return [_cells(record, comparison.best) for record in comparison.records()]


def _cells(record: dict[str, Any], best: str | None) -> tuple[str, ...]:
    is_best = record["loss"] == best
    mark = "★" if is_best else "≈" if record["indistinguishable_from_best"] else ""
    values = (record["hyperparameters"] or {}).items()
    setting = " ".join(f"{k}={v:.3g}" for k, v in values if isinstance(v, int | float) and not isinstance(v, bool))
    spread = _span(record["ci_low"], record["ci_high"], ".3f")
    to_best = ("", "", "")
    if not is_best:
        apart = _span(record["difference_low"], record["difference_high"], "+z.3f")
        to_best = (_number(record["difference_to_best"], "+z.3f"), apart, _p_value(record["p_value"]))
    return (mark, record["loss"], record["family"] or "–", _number(record["mean"]), spread,
            _number(record["default_mean"]), *to_best, setting or record["reason"] or "")  # fmt: skip


def _number(value: float | None, form: str = ".3f") -> str:
    return "–" if value is None else format(value, form)


def _span(low: float | None, high: float | None, form: str) -> str:
    return "–" if low is None or high is None else f"{low:{form}} – {high:{form}}"


def _p_value(value: float | None) -> str:
    return "<0.001" if value is not None and value < 0.001 else _number(value)
