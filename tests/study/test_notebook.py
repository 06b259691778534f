"""What a notebook shows of a study."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from mlcompare.study import run_study
from tests.study.conftest import TINY

CELL = f"""
from mlcompare import run_study
run_study({ {**TINY, "search": {"trials": 1}}!r}, "store", executor="in-process")
"""


def test_an_outcome_is_a_table(tiny: dict, tmp_path: Path) -> None:
    outcome = run_study({**tiny, "search": {"trials": 1}}, tmp_path / "store", executor="in-process")
    shown = outcome._repr_html_()
    for text in ("<td>contrastive</td>", "<td>cosface</td>", "<td>raw_pixels</td>", "Mean map_at_r", "compare(outcome"):
        assert text in shown


def test_a_cell_shows_a_bar_and_the_results(tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output.data.get("text/html", "") for output in notebook.cells[0].outputs if "data" in output]
    bars = [html for html in outputs if html.startswith("<progress")]
    assert len(bars) == 1, "one bar, drawn over itself"
    value, most = bars[0].split('value="')[1].split('"')[0], bars[0].split('max="')[1].split('"')[0]
    assert value == most
    assert "<td>cosface</td>" in outputs[-1]
