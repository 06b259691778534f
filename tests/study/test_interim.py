"""What `results`, `report`, `doctor` and `dashboard` say while a run goes on, and after it was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from mlcompare.study.store import Store, holder_of
from tests.cli.test_cli import call
from tests.study.conftest import TINY

LONG = {**TINY, "training": {**TINY["training"], "steps": 300}, "search": {"trials": 2}, "final": {"seeds": 200}}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A run in its final trainings, and its store."""
    folder = tmp_path_factory.mktemp("interim")
    (folder / "study.yaml").write_text(yaml.safe_dump(LONG), encoding="utf-8")
    command = [sys.executable, "-m", "mlcompare.cli", "run", "study.yaml", "--store", "store"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--executor", "in-process", "--no-populations"], cwd=folder, stdout=log, stderr=log,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    journal = folder / "store" / "journal.jsonl"
    for _ in range(1200):
        text = journal.read_text(encoding="utf-8") if journal.is_file() else ""
        if all(text.count(f'"final/{loss}') > 2 for loss in TINY["losses"]) or process.poll() is not None:
            break
        time.sleep(0.1)
    assert process.poll() is None, (folder / "log").read_text()
    yield process, folder / "store"
    process.kill()
    process.wait()


def check_marked(store: Path, capsys, how: str) -> None:
    """Every command works, and says that the study isn't finished."""
    code, out, _ = call(capsys, "results", store)
    assert code == 0
    assert out.startswith("unfinished: ")
    assert how in out
    assert "cosface" in out
    for format in ("json", "csv"):
        code, out, err = call(capsys, "results", store, "--format", format)
        assert (code, "cosface" in out) == (0, True)
        assert err.startswith("unfinished: ")
    for name in ("report.html", "report.md"):
        format = "html" if name.endswith("html") else "markdown"
        code, out, err = call(capsys, "report", store, "--format", format, "--out", store.parent / name)
        assert code == 0
        assert "unfinished: " in err
        assert "Not finished" in (store.parent / name).read_text(encoding="utf-8")


@pytest.mark.slow
def test_while_a_run_goes_on_and_after_it_was_killed(running, capsys) -> None:
    process, store = running
    assert f"process {process.pid} on" in holder_of(store)
    check_marked(store, capsys, f"it is running (process {process.pid}")
    code, out, _ = call(capsys, "doctor", store)
    assert code == 0
    assert "it is running" in out
    assert "--rebuild" not in out
    code, _, err = call(capsys, "doctor", store, "--rebuild")
    assert (code, "one coordinator at a time" in err) == (2, True)
    assert process.poll() is None, "none of it ended the run"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert holder_of(store) == ""
    check_marked(store, capsys, "`mlcompare run` with this store finishes it")
    code, out, _ = call(capsys, "doctor", store)
    assert code == 0
    assert "`mlcompare run` with this store finishes it" in out


def test_who_holds_a_store(tmp_path: Path, capsys) -> None:
    assert holder_of(tmp_path) == ""
    with Store(tmp_path):
        assert f"process {os.getpid()} on" in holder_of(tmp_path)
        (tmp_path / "study.json").write_text("{}")
        code, _, err = call(capsys, "dashboard", tmp_path)
        assert code == 2
        assert "wait for its first trial" in err
        assert "--rebuild" not in err
    assert holder_of(tmp_path) == "", "we live on, but hold nothing"
    with Store(tmp_path):
        pass
