"""An outside package with one of each kind, installed: found, tested, run, compared, reported, exported, embedded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
KINDS = ("losses", "datasets", "encoders", "metrics", "samplers", "augmentations", "optimizers", "schedules",
         "baselines", "trainers")  # fmt: skip
LIST_ALL = """
import sys
from mlcompare.cli import app
for number, kind in enumerate(sys.argv[1:]):
    print(end="\\0" if number else "")
    app(["list", kind, "-f", "json"], standalone_mode=False)
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of a virtual environment that has the package, and sees what this one has installed."""
    folder = tmp_path_factory.mktemp("outside") / "venv"
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    where = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], capture_output=True, text=True
    )
    site = Path(where.stdout.strip())
    ours = [path for path in sys.path if path.endswith("site-packages")]
    (site / "host.pth").write_text("\n".join([str(ROOT), *ours]) + "\n", encoding="utf-8")
    copied = tmp_path_factory.mktemp("outside") / "mlcompare_zoo"
    subprocess.run(["cp", "-r", str(HERE / "mlcompare_zoo"), str(copied)], check=True)
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps",
               "--no-build-isolation", str(copied)]  # fmt: skip
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return python


def run(python: Path, *arguments: str | Path, cwd: Path) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    command = [str(python), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_kind_is_listed_and_a_broken_one_with_its_reason(python: Path, tmp_path: Path) -> None:
    listed = run(python, "-c", LIST_ALL, *KINDS, cwd=tmp_path).split("\0")
    for kind, text in zip(KINDS, listed, strict=True):
        records = json.loads(text)
        mine = [record for record in records if record["provider"] == "plugin"]
        assert f"zoo_{kind.removesuffix('es') if kind == 'losses' else kind[:-1]}" in [r["name"] for r in mine]
        broken = [record for record in mine if record["broken"]]
        assert [r["name"] for r in broken] == (["zoo_broken"] if kind == "trainers" else [])


def test_it_passes_the_inherited_tests(python: Path, tmp_path: Path) -> None:
    file = tmp_path / "test_zoo.py"
    file.write_text((HERE / "mlcompare_zoo" / "conformance.py").read_text(encoding="utf-8"), encoding="utf-8")
    out = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", file, cwd=tmp_path)
    assert "passed" in out


@pytest.mark.parametrize(
    "trainer",
    ["", "trainer: {name: zoo_trainer, epochs: 3}\nbaselines: [zoo_baseline]\n"],
    ids=["our-loop", "own-loop"],
)
def test_a_study_of_it_runs_and_its_winner_embeds(python: Path, tmp_path: Path, trainer: str) -> None:
    study = (HERE / "study.yaml").read_text(encoding="utf-8") + trainer
    (tmp_path / "study.yaml").write_text(study, encoding="utf-8")
    ran = run(python, "-m", "mlcompare.cli", "run", "study.yaml", "--workers", "2", cwd=tmp_path)
    assert "zoo_loss" in ran
    assert "zoo_baseline" in ran
    assert "zoo_metric" in (tmp_path / "runs" / "zoo" / "report.html").read_text(encoding="utf-8")
    if not trainer:
        again = run(python, "-m", "mlcompare.cli", "run", "study.yaml", "--workers", "2", cwd=tmp_path)
        assert "nothing left to do" in again
        rows = json.loads(run(python, "-m", "mlcompare.cli", "results", "runs/zoo", "-f", "json", cwd=tmp_path))
        assert "zoo_metric" in json.dumps(rows)
    run(python, "-m", "mlcompare.cli", "export", "runs/zoo", "zoo_loss", "--out", "model", "--far", "0.1", cwd=tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (5, 1, 16, 16)).astype(np.uint8)
    np.savez(tmp_path / "new.npz", images=images)
    run(python, "-m", "mlcompare.cli", "embed", "model", "new.npz", "--out", "vectors.npz", cwd=tmp_path)
    with np.load(tmp_path / "vectors.npz") as file:
        assert file["embeddings"].shape == (5, 16)
