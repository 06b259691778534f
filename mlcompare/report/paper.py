"""The ranking for a paper or a pull request: as Markdown or as LaTeX, with what was compared and what was found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mlcompare.report.about import about
from mlcompare.report.study import Study
from mlcompare.report.tables import ranking_records
from mlcompare.report.verdict import judge

__all__ = ["latex", "markdown"]

COLUMNS = ("loss", "family", "mean", "interval", "untuned", "to the best", "p")
LATEX_ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "≈": r"$\approx$", "★": r"$\star$",
    "↗": r"$\nearrow$", "×": r"$\times$", "λ": r"$\lambda$", "α": r"$\alpha$", "τ": r"$\tau$", "β": r"$\beta$",
    "γ": r"$\gamma$", "η": r"$\eta$", "−": "$-$", "→": r"$\to$", "…": r"\dots{}",
}  # fmt: skip


def markdown(studies: Sequence[Study]) -> str:
    """Return one section for each study: what was asked and found, the ranking as a pipe table, and the notes."""
    return "\n\n".join(_markdown(study) for study in studies) + "\n"


def latex(studies: Sequence[Study]) -> str:
    """Return one ``table`` environment (booktabs) for each study; its caption says what was compared and found."""
    return "\n\n".join(_latex(study) for study in studies) + "\n"


def _markdown(study: Study) -> str:
    rows = [[_of_markdown(cell) for cell in row] for row in _rows(study)]
    table = [_pipes([_heading(study, name) for name in COLUMNS]), _pipes(["---", "---", *["---:"] * 5])]
    table += [_pipes(row) for row in rows]
    notes = [f"- {_of_markdown(note)}" for note in study.comparison.notes]
    parts = [f"### {_of_markdown(study.comparison.study)}", *map(_of_markdown, _sentences(study))]
    parts += ["\n".join(f"- **{term}:** {_of_markdown(told)}" for term, told in about(study).items())]
    parts += ["\n".join(table)]
    parts += [_of_markdown(_key(study))] + (["\n".join(notes)] if notes else [])
    return "\n\n".join(part for part in parts if part)


def _latex(study: Study) -> str:
    def line(cells: Sequence[str]) -> str:
        return " & ".join(cells) + r" \\"

    body = [line([_of_latex(cell) for cell in row]) for row in _rows(study)]
    caption = " ".join(_of_latex(sentence) for sentence in (*_sentences(study), _key(study)) if sentence)
    label = re.sub(r"[^A-Za-z0-9-]+", "-", study.comparison.study).strip("-")
    return "\n".join(
        [
            r"\begin{table}", r"  \centering", rf"  \caption{{{caption}}}", rf"  \label{{tab:{label}}}",
            r"  \begin{tabular}{llrrrrr}", r"    \toprule",
            "    " + line([_of_latex(_heading(study, name)) for name in COLUMNS]), r"    \midrule",
            *(f"    {row}" for row in body), r"    \bottomrule", r"  \end{tabular}", r"\end{table}",
        ]
    )  # fmt: skip


def _heading(study: Study, name: str) -> str:
    headings = {"mean": study.metric, "interval": f"{100 * study.comparison.confidence:g} % interval"}
    return headings.get(name, name)


def _sentences(study: Study) -> list[str]:
    """The question, the answer, and what became of the rule."""
    verdict = judge(study)
    left = [f"Not finished: {study.unfinished}."] if study.unfinished else []
    return [*left, str(study.config.get("question") or ""), verdict.answer, f"Rule ({verdict.state}): {verdict.rule}"]


def _key(study: Study) -> str:
    records = ranking_records(study.comparison)
    key = "★ best loss; ≈ not told apart from it (p is Holm-corrected)"
    return key + ("; ↗ still rising when training stopped." if any(r["still_rising"] for r in records) else ".")


def _rows(study: Study) -> list[list[str]]:
    comparison = study.comparison
    return [_row(record, comparison.best) for record in ranking_records(comparison)]


def _row(record: dict[str, Any], best: str | None) -> list[str]:
    mark = "★" if record["loss"] == best else "≈" if record["indistinguishable_from_best"] else ""
    mark += "↗" if record["still_rising"] else ""
    low, high, p = record["ci_low"], record["ci_high"], record["p_value"]
    return [
        f"{record['loss']} {mark}".rstrip(),
        record["family"] or "–",
        _number(record["mean"]),
        "–" if low is None else f"{low:.3f} – {high:.3f}",
        _number(record["default_mean"]),
        "" if record["loss"] == best else _number(record["difference_to_best"], "+"),
        "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}",
    ]


def _number(value: float | None, sign: str = "") -> str:
    return "–" if value is None else f"{value:{sign}z.3f}"


def _pipes(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _of_markdown(text: str) -> str:
    """Return text as it stands in a cell: what Markdown would read as its own is escaped.

    >>> _of_markdown("a_b|c"), _of_markdown("<b> & `c`")
    ('a\\\\_b\\\\|c', '&lt;b> & \\\\`c\\\\`')
    """
    return re.sub(r"([\\`*_|\[\]])", r"\\\1", text.replace("<", "&lt;")).replace("\n", " ")


def _of_latex(text: str) -> str:
    """Return text with LaTeX's own characters escaped.

    >>> _of_latex("10 % of a_b")
    '10 \\\\% of a\\\\_b'
    """
    return "".join(LATEX_ESCAPES.get(character, character) for character in text).replace("\n", " ")
