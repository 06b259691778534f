"""The command for the day when a GPU is there runs whole, at its smallest, without one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "benchmarks" / "gpu_day.py"


@pytest.mark.slow
def test_every_part_runs_on_the_cpu(tmp_path) -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--cpu", "--out", tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    files = sorted(path.name for path in tmp_path.glob("gpu_*.txt"))
    assert files == [f"gpu_{name}.txt" for name in ("evaluation", "fine_tuning", "losses", "quickstart", "tests")]
    assert all(path.read_text(encoding="utf-8").startswith("# ") for path in tmp_path.glob("gpu_*.txt"))
    assert "ratio" in (tmp_path / "gpu_fine_tuning.txt").read_text(encoding="utf-8")


def test_a_part_that_finds_no_time_says_so(tmp_path) -> None:
    command = [sys.executable, SCRIPT, "--cpu", "--minutes", "0", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 5
    assert "failed: tests, fine_tuning, quickstart, losses, evaluation" in done.stdout
    assert "no time was left" in (tmp_path / "gpu_losses.txt").read_text(encoding="utf-8")
