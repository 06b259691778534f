"""What a reader notes of the data is told by `check`, by `run`, and in the report, as written in the study file."""

from __future__ import annotations

import html
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from mlcompare.cli import main


def told(words: list[str], capsys: pytest.CaptureFixture) -> str:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert not ended.value.code
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("ignore", [[], ["Unnamed: 0"]])
def test_row_numbers_among_the_features(
    tiny: dict, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, ignore: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    drawn = np.random.default_rng(0).normal(size=(48, 3))
    frame = pd.DataFrame(drawn, columns=list("abc")).assign(label=np.repeat(np.arange(8), 6))
    frame.insert(0, "Unnamed: 0", np.arange(48))
    frame.to_parquet(tmp_path / "x.parquet")
    tiny["dataset"] = {"name": "features", "path": str(tmp_path / "x.parquet"), "ignore": ignore}
    tiny |= {"losses": {"contrastive": None}, "search": {"trials": 1}, "baselines": []}
    tiny["training"] |= {"classes_per_batch": 2, "samples_per_class": 3}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(tiny))
    store = tmp_path / "store"
    sentence = "`Unnamed: 0` counts the rows and is read as a feature"
    wanted = not ignore
    assert (sentence in told(["check", str(tmp_path / "study.yaml")], capsys)) == wanted
    run = told(["run", str(tmp_path / "study.yaml"), "--store", str(store), "--executor", "in-process"], capsys)
    assert (sentence in run) == wanted
    notes = json.loads((store / "artifacts" / "data_notes.json").read_text())
    assert any(note.startswith(sentence) for note in notes) == wanted
    told(["report", str(store)], capsys)
    assert (sentence in html.unescape((store / "report.html").read_text())) == wanted
