"""What `results`, `report`, `doctor` and `dashboard` say while a run goes on, and after it was killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from mlcompare.cli.ranking import leave_report
from mlcompare.report.study import open_study
from mlcompare.report.verdict import judge
from mlcompare.report.write import report_html
from mlcompare.study import run_study
from mlcompare.study.config import validated
from mlcompare.study.interim import goes_on, unfinished
from mlcompare.study.journal import read_journal
from mlcompare.study.store import Store, holder_of
from tests.cli.test_cli import call
from tests.study.conftest import TINY

RULE = "The 95 % interval of the difference between the best of each family excludes zero."
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


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("finished") / "store"
    run_study({**TINY, "decision_rule": RULE, "search": {"trials": 1}}, path, executor="in-process")
    return path


@pytest.fixture
def killed(finished: Path, tmp_path: Path) -> Path:
    """A store as a kill leaves it after the first final training of one loss."""
    store = tmp_path / "store"
    shutil.copytree(finished, store)
    lines = (store / "journal.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if '"final/cosface' in line)
    (store / "journal.jsonl").write_text("".join(lines[: first + 1]), encoding="utf-8")
    for view in ("results.parquet", "per_class.parquet", "optuna.db"):
        (store / view).unlink()
    return store


def test_losses_in_one_state_are_named_together(killed: Path) -> None:
    records = read_journal(killed / "journal.jsonl")
    losses = {"contrastive": None, "cosface": {"scale": 16}, "later": {"loss": "triplet"}, "last": {"loss": "arcface"}}
    told = unfinished(validated({**TINY, "losses": losses}, "study").model_dump(), records)
    assert told.startswith("later, last are being searched; ")
    assert told.endswith("cosface has 1 of 2 final runs")


def test_the_study_of_a_killed_run_is_finished_not_rebuilt(killed: Path, capsys) -> None:
    code, out, _ = call(capsys, "doctor", killed)
    assert code == 0
    assert "missing: optuna.db; the run that finishes the study makes it" in out
    assert [line for line in out.splitlines() if "--rebuild" in line and not line.startswith("moved: ")] == []
    code, out, _ = call(capsys, "results", killed)
    assert code == 0
    assert out.count("no final run of the selected setting") <= 1, "said once, in a sentence"


def test_an_unfinished_copy_has_the_tables_of_its_journal(finished: Path, killed: Path, capsys) -> None:
    """Its dates are those of copying, in any order."""
    shutil.copy(finished / "results.parquet", killed)
    os.utime(killed / "journal.jsonl", (0, 0))
    assert call(capsys, "results", killed)[0] == 0
    assert (killed / "results.parquet").read_bytes() != (finished / "results.parquet").read_bytes()


def test_before_the_first_training_one_line_says_what_to_wait_for(killed: Path, capsys) -> None:
    lines = (killed / "journal.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    asked = [line for line in lines if '"type":"job"' not in line and '"type":"opening"' not in line]
    (killed / "journal.jsonl").write_text("".join(asked), encoding="utf-8")
    with Store(killed):
        for words in (("results", killed), ("results", killed, "--format", "json"), ("report", killed)):
            code, out, err = call(capsys, *words)
            assert (code, out, err.count("\n")) == (2, "", 1)
            assert f"got none yet; it is running (process {os.getpid()} on" in err
    assert "`mlcompare run` with this store finishes it" in call(capsys, "results", killed)[2]


def test_a_rule_is_open_until_the_study_is_finished(finished: Path) -> None:
    study = open_study(finished)
    assert judge(study).state in ("met", "not met")
    open_still = judge(replace(study, unfinished="cosface has 1 of 2 final runs"))
    assert open_still.state == "not judged"
    assert open_still.because.startswith("The study isn't finished")


def test_the_report_says_once_that_a_study_is_not_finished(killed: Path, tmp_path: Path, capsys) -> None:
    assert call(capsys, "report", killed, "--out", tmp_path / "r.html")[0] == 0
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<strong>Not finished.</strong> cosface has 1 of 2" in page
    with (killed / "journal.jsonl").open("a") as journal:  # a run goes on while the page is made
        journal.write('{"type":"job","key":"final/x/0/fold0/seed1","time":1.0}\n')
    told = replace(open_study(killed), unfinished="cosface has 1 of 2 final runs")
    assert "still running or was interrupted" not in report_html([told])
    assert "still running or was interrupted" in report_html([open_study(killed)])


def test_a_part_of_a_nested_study_that_runs_is_found(tmp_path: Path) -> None:
    (tmp_path / "outer" / "0").mkdir(parents=True)
    assert "`mlcompare run`" in goes_on(tmp_path)
    with Store(tmp_path / "outer" / "1"):
        assert f"it is running (process {os.getpid()} on" in goes_on(tmp_path)


def test_a_report_that_somebody_wrote_meanwhile_is_still_logged(finished: Path, tmp_path: Path, capsys) -> None:
    store = tmp_path / "store"
    shutil.copytree(finished, store)
    assert call(capsys, "report", store)[0] == 0
    assert not (store / "ranking.csv").exists()
    leave_report(store, None, Console(quiet=True))
    written = (store / "ranking.csv").stat().st_mtime_ns
    leave_report(store, None, Console(quiet=True))
    assert (store / "ranking.csv").stat().st_mtime_ns == written, "once"


@pytest.mark.parametrize("content", ["{}", "[]", "no JSON", '{"study": {}}', '{"study": {"name": "x", "losses": {}}}'])
def test_a_broken_study_is_told_in_one_line(killed: Path, content: str, capsys) -> None:
    (killed / "study.json").write_text(content, encoding="utf-8")
    code, _, err = call(capsys, "results", killed)
    assert code == 2
    assert "study.json must be a JSON object" in err
    assert "restore it" in err
