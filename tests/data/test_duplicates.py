"""The same picture in two classes, or on both sides of the seal, is counted and named, never removed silently."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mlcompare.cli import main
from mlcompare.data import Dataset, duplicates
from mlcompare.data.duplicates import find_duplicates
from mlcompare.report.study import open_study
from mlcompare.report.write import report_html
from mlcompare.study import run_study

CLASSES = 6


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.booleans()), min_size=1, max_size=30))
def test_against_all_pairs(rows) -> None:
    values, labels, sealed = (np.array(column) for column in zip(*rows))
    data = Dataset("x", values[:, None].astype(np.float32), labels.astype(np.int64), ("a", "b", "c", "d"))
    found = find_duplicates(data, np.flatnonzero(sealed))
    wanted = [tuple(np.flatnonzero(values == value)) for value in dict.fromkeys(values)]
    assert set(found.across_classes) == {g for g in wanted if len({labels[r] for r in g}) > 1}
    assert set(found.across_seal) == {g for g in wanted if len({bool(sealed[r]) for r in g}) > 1}


@pytest.fixture
def study(tmp_path: Path) -> dict:
    """A folder in which one picture lies in three classes, and an iPhone's picture that Pillow can't read."""
    rng = np.random.default_rng(0)
    for number in range(CLASSES):
        for index in range(8):
            path = tmp_path / f"data/class{number}/{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 255, (6, 6), dtype=np.uint8) if index else np.full((6, 6), 9 * min(number, 3) + 1)
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    (tmp_path / "data/class0/9.heic").write_bytes(b"?")
    images = {"name": "image_folder", "path": str(tmp_path / "data"), "size": [6, 6], "channels": 1}
    return {
        "name": "twice", "dataset": images,
        "protocol": {"test_classes": 0.34, "folds": 2}, "encoder": {"name": "linear", "embedding_dim": 4},
        "training": {"steps": 2, "classes_per_batch": 2, "samples_per_class": 4}, "search": {"trials": 1},
        "final": {"seeds": 1}, "losses": {"softmax": None}, "baselines": [],
    }  # fmt: skip


def test_check_run_and_report_name_them(study: dict, tmp_path: Path, capsys) -> None:
    (tmp_path / "study.yaml").write_text(json.dumps(study))
    with pytest.raises(SystemExit) as ended:
        main(["check", str(tmp_path / "study.yaml")])
    told = capsys.readouterr().out
    assert not ended.value.code
    assert "1 sample stands in more than one class: class3/0.png = class4/0.png = class5/0.png" in told
    assert "1 × .heic" in told
    run_study(study, tmp_path / "store", executor="in-process")
    notes = json.loads((tmp_path / "store/artifacts/data_notes.json").read_text())
    assert notes
    assert all(f"note: {note}" in told for note in notes), "run keeps what check prints"
    page = report_html([open_study(tmp_path / "store")])
    assert all(note.split(":")[0] in page for note in notes)


def test_too_many_samples_are_said_to_be_too_many(monkeypatch) -> None:
    monkeypatch.setattr(duplicates, "MOST_BYTES", 7)
    data = Dataset("x", np.ones((2, 1), np.float32), np.array([0, 1]), ("a", "b"))
    assert find_duplicates(data, np.array([0])).sentences(data) == [
        "the samples are too many to look for duplicates among them"
    ]
