"""Whatever a user calls things is printed as it is, in any encoding."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from mlcompare.comparison import compare
from mlcompare.report.tables import ranking_table

STUDY = {
    "name": "text",
    "question": "Is [/softmax] shown, and Füße, and 中?",
    "dataset": "digits",
    "protocol": {"test_classes": 0.4, "folds": 2},
    "encoder": {"name": "linear", "embedding_dim": 8},
    "training": {"steps": 2, "classes_per_batch": 3, "samples_per_class": 4},
    "search": {"trials": 1},
    "final": {"seeds": 1},
    "baselines": ["raw_pixels"],
    "losses": {"arcface [m=0.3]": {"loss": "arcface", "margin": 0.3}, "arcface [m=0.5]": {"loss": "arcface"}},
}


def run(folder: Path, *arguments: str, encoding: str = "utf-8") -> str:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    command = [sys.executable, "-m", "mlcompare.cli", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True)
    text = (done.stdout + done.stderr).decode(encoding)
    assert done.returncode == 0, text
    return text


def test_brackets_stay_and_no_encoding_ends_a_command(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(json.dumps(STUDY), encoding="utf-8")
    checked = run(tmp_path, "check", "study.yaml")
    assert "Is [/softmax] shown, and Füße, and 中?" in checked
    ran = run(tmp_path, "run", "study.yaml", "--executor", "in-process", encoding="latin-1")
    ranked = run(tmp_path, "results", "runs/text", encoding="ascii")
    for name in STUDY["losses"]:
        assert name in checked
        assert name in ran
        assert name in ranked
    run(tmp_path, "losses", encoding="ascii")
    run(tmp_path, "report", "runs/text")
    report = (tmp_path / "runs/text/report.html").read_text(encoding="utf-8")
    assert "arcface [m=0.3]" in report


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120])
def test_a_narrow_terminal_keeps_the_names_whole(width: int) -> None:
    names = ["margin_based", "lifted_structure", "arcface"]
    rows = [(name, run, "map_at_r", 0.5 + place / 10 + run / 100)
            for place, name in enumerate(names) for run in range(4)]  # fmt: skip
    found = compare(pd.DataFrame(rows, columns=["loss", "run", "metric", "value"]))
    console = Console(width=width, file=io.StringIO())
    console.print(ranking_table(found, settings=width >= 120, width=width))
    lines = console.file.getvalue().splitlines()
    for name, mean in zip(names, ("0.515", "0.615", "0.715")):
        (line,) = [line for line in lines if name in line]
        assert mean in line, "and its number beside it"
    assert all(len(line) <= width for line in lines)
