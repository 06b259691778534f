"""The ranking as Markdown and as LaTeX: whole, escaped, and the same numbers as the table on a terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mlcompare.comparison import compare
from mlcompare.report import write_report
from tests.cli.test_cli import call

STORE = Path(__file__).parents[2] / "notebooks/results/faces-quickstart"


@pytest.fixture(scope="module")
def markdown(tmp_path_factory) -> str:
    path = write_report([STORE], tmp_path_factory.mktemp("md") / "x.md", format="markdown")
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def latex(tmp_path_factory) -> str:
    path = write_report([STORE], tmp_path_factory.mktemp("tex") / "x.tex", format="latex")
    return path.read_text(encoding="utf-8")


def test_a_pipe_table_has_every_loss_with_its_numbers(markdown: str) -> None:
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    records = compare(STORE).records()
    assert len(rows) == 2 + len(records)
    for record, row in zip(records, rows[2:]):
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
        assert len(cells) == 7
        assert cells[0].split(" ")[0].replace("\\", "") == record["loss"]
        assert cells[2] == f"{record['mean']:.3f}"


def test_it_says_what_was_asked_found_and_not_finished(markdown: str) -> None:
    assert "On people never seen in training" in markdown
    assert "Rule (" in markdown
    assert "still rising" in markdown
    assert "\n- " in markdown


def test_latex_is_balanced_and_escaped(latex: str) -> None:
    assert latex.count(r"\begin{") == latex.count(r"\end{") == 2
    body = latex[latex.index(r"\midrule") : latex.index(r"\bottomrule")]
    assert sum(line.endswith(r"\\") for line in body.splitlines()) == len(compare(STORE).records())
    assert all(line.count(" & ") == 6 for line in body.splitlines() if "&" in line)
    assert not re.search(r"(?<!\\)[_%#]", re.sub(r"\\label\{[^}]*\}", "", latex))
    depth = 0
    for character in re.sub(r"\\[{}]", "", latex):
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0


def test_several_studies_have_a_table_each(tmp_path: Path) -> None:
    stores = [STORE, STORE.parent / "glyphs200"]
    text = write_report(stores, tmp_path / "x.md", format="markdown").read_text(encoding="utf-8")
    assert text.count("### ") == 2


@pytest.mark.parametrize(("format", "ending"), [("markdown", "md"), ("latex", "tex"), ("html", "html")])
def test_the_command(format: str, ending: str, capsys, tmp_path: Path) -> None:
    out = tmp_path / f"x.{ending}"
    code, said, err = call(capsys, "report", STORE, "--out", out, "--format", format)
    assert code == 0, err
    assert said.strip() == f"wrote {out}"
    assert out.stat().st_size > 500
    code, _, err = call(capsys, "report", STORE, "--format", "word")
    assert code == 2
    assert "Traceback" not in err
