"""What a script, a notebook cell or a plug-in file registers reaches the processes that train."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from mlcompare.errors import InvalidValueError
from mlcompare.execution.plugins import load_plugin

PARTS = """
    import numpy as np
    import torch
    from torch import nn

    from mlcompare import Dataset, Hyperparameter, as_dataset, register_dataset, register_encoder, register_loss
    from mlcompare.losses import MarginHead

    STEEPNESS = 2


    @register_loss("own_loss", family="margin", reference="an example", replace=True)
    class OwnLoss(MarginHead):
        "A margin that grows with the distance."
        margin: float = Hyperparameter(0.2, low=0.0, high=0.5, minimum=0.0)

        def target_cosine(self, cosine):
            return cosine - self.margin * (1 - cosine) ** STEEPNESS


    @register_encoder("own_net", takes="features", replace=True)
    class OwnNet(nn.Module):
        "Two layers with dropout between them."

        def __init__(self, input_shape, embedding_dim, width=16):
            super().__init__()
            self.layers = nn.Sequential(
                nn.Linear(*input_shape, width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, embedding_dim)
            )

        def forward(self, features):
            return self.layers(features)


    @register_dataset("own_data", replace=True)
    def own_data(classes: int = 10):
        "Gaussian classes."
        rng = np.random.default_rng(0)
        centers = rng.normal(size=(classes, 6))
        rows = [(centers[i % classes] + 0.5 * rng.normal(size=6), i % classes) for i in range(8 * classes)]
        return as_dataset(rows, name="own_data")
"""
STUDY = {
    "name": "own",
    "dataset": "own_data",
    "protocol": {"test_classes": 0.4, "folds": 2},
    "encoder": {"name": "own_net", "embedding_dim": 4},
    "training": {"steps": 4, "classes_per_batch": 3, "samples_per_class": 2},
    "search": {"trials": 2, "parallel": 2},
    "final": {"seeds": 1},
    "baselines": ["raw_pixels"],
    "losses": {"own_loss": None, "triplet": None},
}


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def losses_trained(store: Path) -> set[str]:
    lines = (store / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert all(record["status"] == "ok" for record in records if record["type"] == "job")
    return {record["loss"] for record in records if record["type"] == "job" and record["kind"] == "final"}


def test_a_script_without_a_guard_needs_none_for_what_it_registers(tmp_path: Path) -> None:
    script = f"{textwrap.dedent(PARTS)}\nfrom mlcompare import run_study\nprint('once')\n"
    script += f"run_study({STUDY!r}, 'store', executor='processes', workers=2)\n"
    (tmp_path / "script.py").write_text(script, encoding="utf-8")
    done = run(tmp_path, "script.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("once") == 1, "workers don't run the script"
    assert losses_trained(tmp_path / "store") == {"own_loss", "triplet"}


def test_a_notebook_cell_run_twice_reaches_the_workers(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    study = f"run_study({STUDY!r}, 'store', executor='processes', workers=2)"
    cells = [textwrap.dedent(PARTS), textwrap.dedent(PARTS), f"from mlcompare import run_study\n{study}"]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(book, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert losses_trained(tmp_path / "store") == {"own_loss", "triplet"}


def test_a_plugin_file_serves_every_command(tmp_path: Path) -> None:
    (tmp_path / "my_models.py").write_text(textwrap.dedent(PARTS), encoding="utf-8")
    (tmp_path / "study.yaml").write_text(json.dumps(STUDY), encoding="utf-8")  # JSON is YAML
    without = run(tmp_path, "-m", "mlcompare.cli", "check", "study.yaml")
    assert without.returncode == 2
    assert "own_loss" in without.stderr, "a study file alone runs no code"
    plugin = ["--plugin", "my_models.py"]
    checked = run(tmp_path, "-m", "mlcompare.cli", "check", "study.yaml", *plugin)
    assert checked.returncode == 0, checked.stderr
    ran = run(tmp_path, "-m", "mlcompare.cli", "run", "study.yaml", "--store", "store", "--workers", "2", *plugin)
    assert ran.returncode == 0, ran.stderr
    assert losses_trained(tmp_path / "store") == {"own_loss", "triplet"}
    exported = run(
        tmp_path, "-m", "mlcompare.cli", "export", "store", "own_loss", "--out", "model", "--far", "0.1", *plugin
    )
    assert exported.returncode == 0, exported.stderr
    listed = run(tmp_path, "-m", "mlcompare.cli", "list", "encoders", "-f", "json", *plugin)
    assert {"own_net"} == {r["name"] for r in json.loads(listed.stdout) if r["provider"] == "plugin"}


def test_dropout_trains_alone_with_the_reason_also_where_populations_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "my_models.py").write_text(textwrap.dedent(PARTS), encoding="utf-8")
    (tmp_path / "study.yaml").write_text(json.dumps(STUDY), encoding="utf-8")
    asked = ["run", "study.yaml", "--store", "store", "--populations", "--executor", "in-process", "--plugin"]
    for _ in range(2):
        ran = run(tmp_path, "-m", "mlcompare.cli", *asked, "my_models.py")
        assert ran.returncode == 0, ran.stderr
        assert "single trainings: the encoder does not run in a population (it draws random numbers" in ran.stdout
    assert losses_trained(tmp_path / "store") == {"own_loss", "triplet"}


@pytest.mark.parametrize(
    ("content", "rule"),
    [(None, "must exist"), ("raise RuntimeError('no such thing')", "must run, got RuntimeError: no such thing")],
)
def test_a_plugin_file_that_fails_is_named(tmp_path: Path, content: str | None, rule: str) -> None:
    file = tmp_path / "broken.py"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(InvalidValueError, match=rule) as caught:
        load_plugin(file)
    assert "broken.py" in str(caught.value)
