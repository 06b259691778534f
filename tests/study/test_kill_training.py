"""``kill -9`` inside trainings that take longer than the time between two kills: they end, with the same numbers."""

from __future__ import annotations

import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml

from mlcompare.execution.bundles import run_bundle
from mlcompare.search.proposals import default_values
from mlcompare.study import run_study
from mlcompare.study.config import validated
from mlcompare.study.plan import make_plan
from mlcompare.training.checkpoint import Checkpoint
from tests.study.conftest import TINY
from tests.study.test_kill import UNSTABLE, results, session_members, start


def write_study(folder: Path, steps: int, **training) -> None:
    folder.mkdir()
    training = {**TINY["training"], "steps": steps, "evaluations": 7, "select": "best", **training}
    study = {**TINY, "training": training, "search": {"trials": 1, "parallel": 1}, "baselines": "none",
             "losses": {"margin_based": None}}  # fmt: skip
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")


def checkpoints(folder: Path) -> dict[str, int]:
    """Return when each checkpoint of the store was written."""
    found = {}
    for path in (folder / "runs/tiny/.cache/checkpoints").glob("*.checkpoint"):
        try:
            found[path.name] = path.stat().st_mtime_ns
        except FileNotFoundError:  # its training has just been journaled
            continue
    return found


def kill_after(process: subprocess.Popen, folder: Path, writes: int) -> bool:
    """Kill a study after so many further writes of checkpoints; say whether it was still running."""
    before, seen = checkpoints(folder), 0
    while seen < writes and process.poll() is None:
        now = checkpoints(folder)
        seen += sum(before.get(name) != written for name, written in now.items())
        before = now
        time.sleep(0.005)
    alive = process.poll() is None
    for pid in session_members(process.pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()
    while session_members(process.pid):
        time.sleep(0.05)
    return alive


def killed(tmp_path: Path, executor: str, moments: int, steps: int, minutes: float) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    write_study(whole, steps, checkpoint_minutes=0)
    write_study(folder, steps, checkpoint_minutes=minutes)
    assert start(whole, executor).wait(timeout=600) == 0, (whole / "log.txt").read_text()[-2000:]
    chance = random.Random(executor)
    hits = sum(kill_after(start(folder, executor), folder, chance.randint(1, 4)) for _ in range(moments))
    assert hits == moments, "the study was done before the last of them"
    assert start(folder, executor).wait(timeout=600) == 0, (folder / "log.txt").read_text()[-2000:]
    pd.testing.assert_frame_equal(results(folder), results(whole))
    records = list(map(json.loads, (folder / "runs/tiny/journal.jsonl").read_text().splitlines()))
    keys = [record["key"] for record in records if record["type"] == "job"]
    assert len(keys) == len(set(keys)) == 4
    assert not (folder / "runs/tiny/.cache/checkpoints").exists(), "what is journaled needs none"
    assert "checkpoint" not in (folder / "log.txt").read_text()


DRIVER = """
import pickle, sys
from pathlib import Path
from mlcompare.execution.bundles import run_bundle
bundle, data, out = pickle.loads(Path(sys.argv[1]).read_bytes())
results = run_bundle(bundle, data)
Path(out).write_bytes(pickle.dumps([(r.status, r.metrics, r.history, r.curve, r.step) for r in results]))
"""


@pytest.mark.parametrize("members", [1, 3])
def test_a_training_killed_in_a_few_moments(tmp_path: Path, members: int) -> None:
    """A process that only trains, killed with signal 9 while it trains and while it writes: bit for bit the same."""
    config = validated({**TINY, "training": {**TINY["training"], "steps": 600, "checkpoint_minutes": 1e-3}}, "x")
    plan = make_plan(config)
    values = default_values(plan.losses["cosface"].space)
    jobs = [job for trial in range(2) for job in plan.trial_jobs("cosface", trial, values)][:members]
    whole = run_bundle(tuple(jobs), plan.data)
    kept, out = tmp_path / "kept", tmp_path / "out"
    bundle = tuple(replace(job, folder=str(kept)) for job in jobs)
    (tmp_path / "given").write_bytes(pickle.dumps((bundle, plan.data, out)))
    chance, moments = random.Random(members), 2
    for moment in range(moments + 1):
        with subprocess.Popen([sys.executable, "-c", DRIVER, tmp_path / "given"]) as process:
            written, seen = None, 0
            while moment < moments and seen < 2 and process.poll() is None:
                now = next((path.stat().st_mtime_ns for path in kept.glob("*.checkpoint")), None)
                seen, written = seen + (now != written), now
            if moment < moments:
                time.sleep(chance.uniform(0, 0.01))
                process.kill()
                assert process.wait() == -signal.SIGKILL, "it was done before it was killed"
    found = pickle.loads(out.read_bytes())
    assert found == [(r.status, r.metrics, r.history, r.curve, r.step) for r in whole]


class Killed(BaseException):
    """Nothing in a study catches it."""


@pytest.mark.parametrize("populations", [False, True])
def test_a_study_goes_on_inside_its_trainings(tmp_path: Path, tiny: dict, monkeypatch, populations: bool) -> None:
    tiny["training"]["evaluations"] = 2
    kill, taken = [3], []
    save = Checkpoint.save

    def due(self) -> bool:
        taken.append(1)
        return len(taken) % 7 == kill[0]

    def spied(self, state) -> None:
        save(self, state)
        raise Killed

    run_study(tiny, tmp_path / "whole", executor="in-process", populations=populations)
    monkeypatch.setattr(Checkpoint, "due", due)
    monkeypatch.setattr(Checkpoint, "save", spied)
    kills = 0
    while True:
        try:
            run_study(tiny, tmp_path / "killed", executor="in-process", populations=populations)
            break
        except Killed:
            kills += 1
            tiny["training"]["checkpoint_minutes"] = 5.0 + kills  # how often they are written is no part of a study
    assert kills >= 3
    tables = [pd.read_parquet(tmp_path / name / "results.parquet") for name in ("whole", "killed")]
    pd.testing.assert_frame_equal(*(table.drop(columns=UNSTABLE) for table in tables))
    assert not (tmp_path / "killed" / ".cache").exists(), "what is journaled needs no checkpoint"


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["processes", "population"])
def test_killed_in_thirty_moments(tmp_path: Path, executor: str) -> None:
    killed(tmp_path, executor, moments=30, steps=12_000, minutes=0.002)
