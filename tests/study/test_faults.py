"""What may happen to a study from outside: signals, disks, memory, clocks, versions. No training is lost."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from mlflow.tracking import MlflowClient

from mlcompare.errors import StoreError
from mlcompare.study import run_study
from mlcompare.study.doctor import check_store, rebuild_views
from mlcompare.study.journal import read_journal
from tests.servers import Server, free_port
from tests.study.conftest import TINY

MEASURED = ["seconds", "peak_memory"]


def write_study(folder: Path, steps: int = 200) -> None:
    study = {**TINY, "training": {**TINY["training"], "steps": steps}}
    (folder / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")


def start(folder: Path, *options: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "mlcompare.cli", "run", "study.yaml", "--workers", "2", *options]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def wait_for_jobs(folder: Path, process: subprocess.Popen, number: int) -> None:
    """Wait until the journal holds so many finished trainings."""
    journal = folder / "runs/tiny/journal.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if journal.is_file() and journal.read_bytes().count(b'"type":"job"') >= number:
            return
        time.sleep(0.02)
    pytest.fail(f"the study ended or hung early: {process.communicate()[0][-2000:]}")


def table(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "runs/tiny/results.parquet").drop(columns=MEASURED)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> pd.DataFrame:
    """The table of a study that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    write_study(folder)
    process = start(folder, "--executor", "processes")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return table(folder)


def check_resumes(folder: Path, whole: pd.DataFrame) -> None:
    """The same command ends the study with the same table, no training done twice."""
    process = start(folder, "--executor", "processes")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    pd.testing.assert_frame_equal(table(folder), whole)
    keys = [r["key"] for r in read_journal(folder / "runs/tiny/journal.jsonl") if r["type"] == "job"]
    assert len(keys) == len(set(keys))


@pytest.mark.slow
@pytest.mark.parametrize(("signals", "codes"), [
    ([signal.SIGINT], {130}),
    ([signal.SIGINT, signal.SIGINT], {130}),
    ([signal.SIGINT, signal.SIGINT, signal.SIGINT, signal.SIGINT], {130}),
    ([signal.SIGTERM], {130}),
    ([signal.SIGTERM, signal.SIGINT], {130}),
])  # fmt: skip
def test_signals_end_a_study_politely(signals, codes, tmp_path: Path, whole: pd.DataFrame) -> None:
    write_study(tmp_path)
    process = start(tmp_path, "--executor", "processes")
    wait_for_jobs(tmp_path, process, 3)
    for sent in signals:
        if process.poll() is None:
            process.send_signal(sent)
        time.sleep(0.05)
    output, _ = process.communicate(timeout=60)
    assert process.returncode in codes, output
    assert "the same command resumes" in output
    assert "Traceback" not in output
    check_resumes(tmp_path, whole)


@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [8, 300, 1500])
def test_a_full_disk_loses_nothing(kilobytes: int, small_disk, tmp_path: Path, whole: pd.DataFrame) -> None:
    disk = small_disk("size=64m")
    write_study(disk)
    (disk / "filler").write_bytes(b"x" * ((64 * 1024 - kilobytes) * 1024 - 16384))
    process = start(disk, "--executor", "processes")
    output, _ = process.communicate(timeout=300)
    assert "Traceback" not in output, output
    assert process.returncode in (0, 2), output
    if process.returncode == 2:
        assert output.strip().splitlines()[-1].startswith("error: "), output
    (disk / "filler").unlink()
    check_resumes(disk, whole)


@pytest.mark.slow
def test_a_read_only_store_is_named_and_can_still_be_read(small_disk, tmp_path: Path) -> None:
    disk = small_disk("size=64m")
    write_study(disk, steps=4)
    process = start(disk, "--store", "store")
    assert process.wait(120) == 0
    assert subprocess.run(["mount", "-o", "remount,ro", str(disk)]).returncode == 0
    process = start(disk, "--store", "store")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "the store must be writable" in output
    shown = subprocess.run(
        [sys.executable, "-m", "mlcompare.cli", "results", str(disk / "store")], capture_output=True, text=True
    )
    assert shown.returncode == 0
    assert "cosface" in shown.stdout
    report = [sys.executable, "-m", "mlcompare.cli", "report", str(disk / "store")]
    refused = subprocess.run(report, capture_output=True, text=True)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "--out" in refused.stderr
    assert subprocess.run([*report, "--out", str(tmp_path / "r.html")], capture_output=True).returncode == 0
    checked = subprocess.run(
        [sys.executable, "-m", "mlcompare.cli", "doctor", str(disk / "store")], capture_output=True, text=True
    )
    assert (checked.returncode, "ok: mlflow.db" in checked.stdout) == (0, True), checked.stdout
    port = free_port()
    words = [sys.executable, "-m", "mlcompare.cli", "dashboard", str(disk / "store"), "--port", str(port)]
    server = Server(words, port, tmp_path / "log")
    server.start()
    try:
        told = MlflowClient(server.address).search_experiments(filter_string="name != 'Default'")
        assert len(told) == 1
        assert MlflowClient(server.address).search_runs([told[0].experiment_id])
    finally:
        server.stop()
    assert "a copy of its database is served" in (tmp_path / "log").read_text(encoding="utf-8")


BOUNDED = """
import resource, sys
from pathlib import Path
from mlcompare.study import run_study
study = {**TINY, "encoder": {"name": "mlp", "embedding_dim": 8, "width": int(sys.argv[1]), "depth": 2},
         "losses": {"cosface": None}, "search": {"trials": 1},
         "training": {"steps": 1, "classes_per_batch": 3, "optimizer": "adam"}}
run_study({**study, "encoder": {"name": "linear"}}, "warm", executor="in-process")
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 600 * 2**20,) * 2)
run_study(study, "bounded", executor="in-process")
""".replace("TINY", repr(TINY))


def test_memory_that_is_refused_fails_the_training_with_that_reason(tmp_path: Path) -> None:
    """49 million weights fit into 600 MB; with gradients and Adam's moments they don't."""
    done = subprocess.run([sys.executable, "-c", BOUNDED, "7000"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    records = [r for r in read_journal(tmp_path / "bounded/journal.jsonl") if r["type"] == "job"]
    assert {r["reason"] for r in records if r["loss"] == "cosface"} == {"out of memory"}


def test_an_encoder_that_never_fits_is_refused_in_the_plan(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", BOUNDED, "30000"], cwd=tmp_path, capture_output=True, text=True)
    assert "encoder: it must fit into memory" in done.stderr
    assert not (tmp_path / "bounded").exists()


def test_a_clock_that_goes_backwards_changes_nothing(tmp_path: Path, monkeypatch) -> None:
    run_study(TINY, tmp_path / "forwards", executor="in-process")
    ticks = iter(range(2_000_000_000, 0, -1000))
    monkeypatch.setattr(time, "time", lambda: float(next(ticks)))
    outcome = run_study(TINY, tmp_path / "backwards", executor="in-process")
    assert outcome.tracking_fault is None
    again = run_study(TINY, tmp_path / "backwards", executor="in-process")
    assert again.trained == 0
    tables = [
        pd.read_parquet(tmp_path / name / "results.parquet").drop(columns=MEASURED)
        for name in ("forwards", "backwards")
    ]
    pd.testing.assert_frame_equal(*tables)


def test_a_package_version_that_changed_is_refused_with_both(tmp_path: Path, monkeypatch) -> None:
    run_study(TINY, tmp_path / "store", executor="in-process")
    found = {"mlcompare": "0.0.1", "torch": "9.9", "numpy": "1.0"}
    monkeypatch.setattr("mlcompare.study.plan.versions", lambda: found)
    with pytest.raises(StoreError, match=r"versions\.torch: .* → '9\.9'.*install those versions"):
        run_study(TINY, tmp_path / "store", executor="in-process")


@pytest.mark.parametrize("name", ["mlflow.db", "optuna.db"])
def test_a_corrupted_database_is_found_and_rebuilt(name: str, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run_study(TINY, store, executor="in-process")
    data = bytearray((store / name).read_bytes())
    data[:4096] = os.urandom(4096)
    for leftover in store.glob(f"{name}-*"):
        leftover.unlink()
    (store / name).write_bytes(data)
    assert any(finding.startswith("fault") and name in finding for finding in check_store(store))
    assert run_study(TINY, store, executor="in-process").trained == 0  # a broken view stops nothing
    rebuild_views(store)
    assert not any(finding.startswith("fault") for finding in check_store(store))
    assert sqlite3.connect(store / name).execute("pragma integrity_check").fetchone() == ("ok",)
