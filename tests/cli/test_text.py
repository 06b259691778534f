"""Whatever a user calls things is printed as it is, in any encoding."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

STUDY = {
    "name": "text",
    "question": "Is [/softmax] shown, and Füße, and 中?",
    "dataset": "digits",
    "protocol": {"test_classes": 0.4, "folds": 2},
    "encoder": {"name": "linear", "embedding_dim": 8},
    "training": {"steps": 2, "classes_per_batch": 3, "samples_per_class": 4},
    "search": {"trials": 1},
    "final": {"seeds": 1},
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
    for name in STUDY["losses"]:
        assert name in checked
        assert name in ran
        assert name in run(tmp_path, "results", "runs/text", encoding="ascii")
    run(tmp_path, "losses", encoding="ascii")
    run(tmp_path, "report", "runs/text")
    report = (tmp_path / "runs/text/report.html").read_text(encoding="utf-8")
    assert "arcface [m=0.3]" in report
