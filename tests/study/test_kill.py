"""``kill -9`` at any moment: no training is lost, none is done twice, and the table comes out number for number."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.study.conftest import TINY

pytestmark = pytest.mark.slow
UNSTABLE = ["seconds", "peak_memory"]  # measured, so never the same twice


def write_study(folder: Path) -> None:
    study = {**TINY, "training": {**TINY["training"], "steps": 150}, "search": {"trials": 15, "parallel": 3}}
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")


def start(folder: Path, executor: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "mlcompare.cli", "run", "study.yaml", "--executor", executor, "--workers", "2"]
    log = (folder / "log.txt").open("ab")
    return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)


def session_members(leader: int) -> list[int]:
    """Return every living process of a coordinator's session: itself, its fork server, its workers."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def results(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "runs/tiny/results.parquet").drop(columns=UNSTABLE)


@pytest.mark.parametrize(("executor", "moments"), [("processes", 15), ("population", 15)])
def test_killed_at_random_moments(executor: str, moments: int, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
        write_study(folder)
    assert start(whole, executor).wait(timeout=300) == 0
    chance = random.Random(executor)
    hits = 0
    for _ in range(moments):
        process = start(killed, executor)
        time.sleep(chance.uniform(2.0, 9.0))
        members = session_members(process.pid)
        workers_only = chance.random() < 0.3
        for pid in members:
            if pid != process.pid or not workers_only:
                hits += 1
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    hits -= 1
        if workers_only:
            time.sleep(1.0)
            process.kill()
        process.wait()
        deadline = time.monotonic() + 60  # a worker that is still importing notices late
        while session_members(process.pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert session_members(process.pid) == [], "workers end with their coordinator"
    assert hits >= moments // 2, "most moments must hit a living process"
    assert start(killed, executor).wait(timeout=300) == 0, (killed / "log.txt").read_text()[-2000:]
    pd.testing.assert_frame_equal(results(killed), results(whole))
    lines = (killed / "runs/tiny/journal.jsonl").read_text().splitlines()
    keys = [record["key"] for record in map(json.loads, lines) if record["type"] == "job"]
    assert len(keys) == len(set(keys))
    connection = sqlite3.connect(killed / "runs/tiny/mlflow.db")
    running = connection.execute("select count(*) from runs where status='RUNNING' and lifecycle_stage='active'")
    assert running.fetchone() == (0,)
    counts = connection.execute(
        "select value, count(*) from tags join runs using (run_uuid) where key='trial_key' "
        "and lifecycle_stage='active' group by value having count(*) > 1"
    )
    assert counts.fetchall() == [], "no run stands twice"
    connection.close()
