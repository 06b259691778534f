"""The study files that come with the package: each asks a question, says how it is decided, and runs."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import yaml

from mlcompare.cli import main
from mlcompare.data.idx import read_idx
from mlcompare.study import StudyConfig, make_plan, read_study

STUDIES = Path(__file__).parents[2] / "studies"
MNIST = Path(__file__).parents[2] / ".." / "shared" / "data" / "mnist"
NAMES = ["fashion", "glyphs", "label_noise", "long_tail", "mnist", "mnist_2d"]


def located(name: str, folder: Path) -> Path:
    """Return the study with its data where they are here; skip where they are not."""
    raw = yaml.safe_load((STUDIES / f"{name}.yaml").read_text())
    data = raw["dataset"] if isinstance(raw["dataset"], dict) else {}
    if data.get("path") == "data/mnist":
        data["path"] = str(MNIST)
    if not Path(data.get("path", ".")).is_dir():
        pytest.skip(f"{data['path']} is not here")
    if data.get("name") == "idx":
        data["path"] = str(fewer(Path(data["path"]), folder / "fewer"))
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(raw))
    return file


def fewer(original: Path, folder: Path) -> Path:
    """Write the first images of an IDX set as a smaller one."""
    folder.mkdir()
    for part, count in (("train", 800), ("t10k", 300)):
        for kind in ("images-idx3", "labels-idx1"):
            array = read_idx(original / f"{part}-{kind}-ubyte.gz")[:count]
            header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            (folder / f"{part}-{kind}-ubyte").write_bytes(header + array.astype(np.uint8).tobytes())
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_each_study_asks_and_says_how_it_is_decided(name: str, tmp_path: Path) -> None:
    config = read_study(STUDIES / f"{name}.yaml")
    assert config.question.endswith("?")
    assert config.decision_rule.endswith(".")
    assert config.name == name.replace("_", "-")
    plan = make_plan(read_study(located(name, tmp_path)))
    assert isinstance(plan.config, StudyConfig)
    families = {loss.entry.family for loss in plan.losses.values()}
    assert families == {"metric", "margin"}, "a comparison has both sides"
    if name == "glyphs":
        assert len(plan.data.dataset.class_names) >= 500
    assert bool(plan.corrupted()) == (name in ("label_noise", "long_tail"))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_each_study_runs(name: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file, store = located(name, tmp_path), tmp_path / "store"
    arguments = ["run", str(file), "--store", str(store), "--trials", "2", "--steps", "20", "--seeds", "1"]
    for command in (arguments, ["results", str(store), "--format", "json"]):
        capsys.readouterr()
        with pytest.raises(SystemExit, match="0"):
            main(command)
    rows = json.loads(capsys.readouterr().out)
    assert set(read_study(file).losses) <= {row["loss"] for row in rows}
    assert all(0 <= row["mean"] <= 1 for row in rows)
    assert (store / "report.html").is_file()
