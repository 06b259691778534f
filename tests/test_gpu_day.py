"""The command for the day when a GPU is there runs whole, at its smallest, without one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "benchmarks" / "gpu_day.py"
PARTS = ["tests", "fine_tuning", "quickstart", "devices", "ranks", "losses", "evaluation"]


@pytest.mark.slow
def test_every_part_runs_on_the_cpu(tmp_path) -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--cpu", "--out", tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    files = sorted(path.name for path in tmp_path.glob("gpu_*.txt"))
    assert files == [f"gpu_{name}.txt" for name in sorted(PARTS)]
    assert all(path.read_text(encoding="utf-8").startswith("# ") for path in tmp_path.glob("gpu_*.txt"))
    assert "ratio" in (tmp_path / "gpu_fine_tuning.txt").read_text(encoding="utf-8")
    ranks = (tmp_path / "gpu_ranks.txt").read_text(encoding="utf-8").splitlines()
    assert [line.split("  ")[0] for line in ranks[-2:]] == ["2 ranks", "2 ranks, class weights shared out"]
    assert all(float(line.split()[-1]) < 1e-3 for line in ranks[-2:]), "as far apart as rounding"


def test_a_part_that_finds_no_time_says_so(tmp_path) -> None:
    command = [sys.executable, SCRIPT, "--cpu", "--minutes", "0", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == len(PARTS)
    assert f"failed: {', '.join(PARTS)}" in done.stdout
    assert "no time was left" in (tmp_path / "gpu_losses.txt").read_text(encoding="utf-8")
