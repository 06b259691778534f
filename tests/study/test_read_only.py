"""What can't be written is told, with the cure, before anything is trained, embedded or drawn."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mlcompare.study import run_study
from tests.cli.test_cli import call
from tests.study.conftest import TINY

NOTHING = {  # what would have been done first, and takes the time
    "challenge": "mlcompare.challenge.run.run_study",
    "run": "mlcompare.study.runner.make_plan",
    "export": "mlcompare.export.model_folder.find_winner",
    "embed": "mlcompare.export.embed.load_model",
    "neighbours": "mlcompare.export.matches.find_neighbours",
    "init": "mlcompare.data.survey.survey",
    "report": "mlcompare.report.write.open_study",
    "doctor": "mlcompare.study.doctor.write_tables",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    run_study({**TINY, "search": {"trials": 1}}, folder / "store", executor="in-process")
    np.savez(folder / "table.npz", images=np.zeros((2, 1, 8, 8), np.uint8))
    (folder / "study.yaml").write_text("{name: tiny, dataset: digits, losses: {cosface: }}\n", encoding="utf-8")
    return folder


@pytest.fixture
def sealed(small_disk, finished: Path) -> Path:
    """A disk that can't be written, with a finished store on it."""
    disk = small_disk("size=64m")
    shutil.copytree(finished, disk, dirs_exist_ok=True)
    assert subprocess.run(["mount", "-o", "remount,ro", str(disk)]).returncode == 0
    return disk


def refused(capsys, monkeypatch, *words: object) -> str:
    """Call a command that must refuse at once; return what it says."""

    def began(*_given: object, **_options: object) -> None:
        pytest.fail(f"{words[0]} began")

    monkeypatch.setattr(NOTHING[str(words[0])], began)
    code, _, err = call(capsys, *words)
    assert (code, err.count("\n")) == (2, 1), err
    return err


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        ("challenge store", "copy it to where it can be written, and challenge the copy"),
        ("run study.yaml --store store", "choose another directory with --store"),
        ("run study.yaml --store deep/in/it", "choose another directory with --store"),
        ("export store cosface --refit --out store/model", "name another with --out"),
        ("export store cosface --refit --register x --out {out}/model", "register it at a server with --tracking-uri"),
        ("embed model table.npz --out x.npz", "name a file in a directory that exists and can be written"),
        ("neighbours model table.npz table.npz --out x.html", "name a file in a directory that exists and can be"),
        ("init table.npz --out new.yaml", "choose another --out"),
        ("report store", "can be written, with --out"),
    ],
)
def test_a_command_that_writes_says_so_first(words, cure, sealed: Path, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(sealed)
    told = refused(capsys, monkeypatch, *words.format(out=tmp_path).split())
    assert cure in told
    assert "a folder that can't be written" in told
    assert not (tmp_path / "model").exists()


def test_views_are_rebuilt_in_a_copy(sealed: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(NOTHING["doctor"], lambda *_given: pytest.fail("doctor began"))
    code, out, err = call(capsys, "doctor", sealed / "store", "--rebuild")
    assert (code, "ok: mlflow.db" in out) == (2, True), "what can be checked is checked"
    assert "rebuild the copy" in err


@pytest.mark.skipif(os.geteuid() == 0, reason="what a mode forbids, root may do")
def test_a_folder_that_the_mode_forbids_is_told(finished: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    store = tmp_path / "store"
    shutil.copytree(finished / "store", store)
    store.chmod(0o555)
    try:
        assert "challenge the copy" in refused(capsys, monkeypatch, "challenge", store)
    finally:
        store.chmod(0o755)
