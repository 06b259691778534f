"""``mlcompare recommend`` before a study, for data that nobody described, and after one."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlcompare.data import list_datasets
from tests.cli.test_cli import call
from tests.cli.test_init import draw

STORES = Path(__file__).parents[2] / "notebooks/results"
MADE_HERE = ("digits", "glyphs", "orl_faces")


@pytest.mark.parametrize("name", MADE_HERE)
def test_a_registered_dataset(capsys, name: str) -> None:
    code, out, err = call(capsys, "recommend", name)
    assert code == 0, err
    assert f"{name}: trains on" in out
    assert "where to start" in out
    assert "arcface" in out
    assert "s: with" in out


def test_a_folder_that_nobody_described(capsys, tmp_path: Path) -> None:
    draw(tmp_path / "things", 20, 4)
    code, out, err = call(capsys, "recommend", str(tmp_path / "things"))
    assert code == 0, err
    assert "power: with" in out
    assert "mlcompare init" in out


def test_a_study_file_lists_its_own_losses(capsys, tmp_path: Path) -> None:
    text = "name: x\ndataset: digits\nprotocol: {kind: closed_set, folds: 2}\nlosses:\n  cosface: {scale: 16}\n"
    (tmp_path / "study.yaml").write_text(text, encoding="utf-8")
    code, out, err = call(capsys, "recommend", str(tmp_path / "study.yaml"))
    assert code == 0, err
    assert "cosface" in out
    assert "arcface" not in out
    assert "power" not in out, "of sealed classes only"


def test_a_finished_study_is_told_what_to_try_next(capsys) -> None:
    code, out, err = call(capsys, "recommend", str(STORES / "faces-quickstart"))
    assert code == 0, err
    assert "More steps: " in out
    assert "A wider range: trihard chose margin" in out
    assert "To tell trihard from" in out


def test_nothing_there_is_one_line(capsys, tmp_path: Path) -> None:
    code, _, err = call(capsys, "recommend", str(tmp_path / "nothing"))
    assert code != 0
    assert "there must be a folder or a file" in err
    assert "Traceback" not in err


def test_the_datasets_of_these_tests_are_registered() -> None:
    assert {spec.name for spec in list_datasets()} >= set(MADE_HERE)
