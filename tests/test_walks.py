"""The three walks of the README, with its own commands: an own folder, an own model, a received store."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.servers import Server, free_port
from tests.test_readme import README, blocks

pytestmark = pytest.mark.slow
WALKS = re.findall(r"```console\n(.*?)```", README.split("## Three walkthroughs")[1].split("\n## ")[0], flags=re.DOTALL)
FOLDER, MODEL, RECEIVED = ([line.removeprefix("$ ") for line in walk.splitlines()] for walk in WALKS)


def draw(root: Path, classes: int = 40, samples: int = 10) -> None:
    """Images that a class's members share, with noise."""
    rng = np.random.default_rng(0)
    for label in range(classes):
        (root / f"c{label:02}").mkdir(parents=True)
        shape = rng.integers(0, 255, (9, 8))
        for number in range(samples):
            image = np.clip(shape + rng.normal(0, 40, shape.shape), 0, 255).astype(np.uint8)
            Image.fromarray(image).save(root / f"c{label:02}" / f"{number}.png")


def walk(folder: Path, command: str, more: str = "") -> str:
    """Run a command of the README, perhaps with a smaller budget; return what it printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder / "cache")}
    program, *words = shlex.split(f"{command} {more}")
    assert program == "mlcompare"
    line = [sys.executable, "-m", "mlcompare.cli", *words]
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def walked(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """The first walk, to its end: its folder, and what each command printed."""
    folder = tmp_path_factory.mktemp("walk")
    draw(folder / "photos")
    small = {"run": "--trials 1 --steps 4 --seeds 1"}
    return folder, {line: walk(folder, line, small.get(line.split()[1], "")) for line in FOLDER}


def test_from_a_folder_to_neighbours(walked) -> None:
    folder, printed = walked
    assert [line.split()[1] for line in FOLDER][:3] == ["init", "check", "run"]
    assert "95 % interval" in printed["mlcompare results runs/photos"]
    assert "registered photos version 1" in "".join(printed.values())
    assert (folder / "runs/photos/report.html").stat().st_size > 100_000
    with np.load(folder / "photos.npz") as found:
        assert len(found["embeddings"]) == 400
    assert "<img" in (folder / "found.html").read_text(encoding="utf-8")


def test_a_store_that_somebody_sent(walked, tmp_path: Path) -> None:
    """It comes without its data's old place, to a folder of another name."""
    folder, _ = walked
    shutil.copytree(folder / "runs/photos", tmp_path / "received")
    shutil.copytree(folder / "photos", tmp_path / "photos")
    shutil.move(folder / "photos", folder / "elsewhere")
    try:
        *lines, last = RECEIVED
        printed = {}
        for line in lines:
            printed[line.split()[1]] = walk(tmp_path, line)
        assert "the store was moved or copied" in printed["doctor"]
        assert "95 % interval" in printed["results"]
        assert (tmp_path / "received/report.md").is_file()
        assert (tmp_path / "model/weights.pt").is_file()
        port = free_port()
        words = [sys.executable, "-m", "mlcompare.cli", *last.split()[1:], "--port", str(port)]
        server = Server(words, port, tmp_path / "log", cwd=tmp_path)
        server.start()
        try:
            with urllib.request.urlopen(server.address, timeout=30) as page:
                assert page.status == 200
        finally:
            server.stop()
    finally:
        shutil.move(folder / "elsewhere", folder / "photos")


def test_with_a_model_of_ones_own(tmp_path: Path) -> None:
    (own,) = (block for block in blocks("python") if "# my_models.py" in block)
    (tmp_path / "my_models.py").write_text(own, encoding="utf-8")
    (study,) = re.findall(r"`mine.yaml`, which is `(.*?)`", README, flags=re.DOTALL)
    (tmp_path / "mine.yaml").write_text(study, encoding="utf-8")
    from sklearn.datasets import load_digits

    for name, row in (("one", 0), ("other", 10)):
        np.savez(tmp_path / f"{name}.npz", images=np.uint8(load_digits().images[row : row + 1, None] * 255 / 16))
    small = {"run": "--trials 1 --seeds 1"}
    printed = [walk(tmp_path, line, small.get(line.split()[1], "")) for line in MODEL]
    assert "my_net" in printed[0]
    assert "cosine" in printed[-1]
    table = pd.read_parquet(tmp_path / "runs/mine/results.parquet")
    assert set(table.loc[table["kind"] == "final", "status"]) == {"ok"}
