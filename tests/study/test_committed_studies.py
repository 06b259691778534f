"""Every committed study can be planned: what a plan checks holds for each, also where its data are not here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlcompare.study import make_plan
from mlcompare.study.strict_yaml import read_yaml

STUDIES = Path(__file__).parents[2] / "studies"
FILES = sorted(STUDIES.rglob("*.yaml"))


def with_data_of_the_same_kind(study: dict, folder: Path) -> dict:
    """The study with a few made-up samples in place of files that it reads, and with few glyphs."""
    told = study["dataset"] if isinstance(study["dataset"], dict) else {"name": study["dataset"]}
    if told["name"] == "idx":
        told = {**told, "path": str(folder), "samples_per_class": 200, "test_samples_per_class": 5}
        noise = np.random.default_rng(0)
        for part, count in (("train", 2000), ("t10k", 50)):
            images = noise.integers(0, 256, (count, 28, 28), dtype=np.uint8)
            for kind, rank, values in (("images", 3, images), ("labels", 1, np.arange(count, dtype=np.uint8) % 10)):
                head = bytes([0, 0, 8, rank]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
                (folder / f"{part}-{kind}-idx{rank}-ubyte").write_bytes(head + values.tobytes())
    elif told["name"] == "features" and "path" in told:
        people = np.repeat(np.arange(120), 4)
        rows = np.random.default_rng(0).normal(size=(len(people), 8)).astype(np.float32)
        np.savez(folder / "features.npz", features=rows, labels=people)
        told["path"] = str(folder / "features.npz")
    elif told["name"] == "glyphs":
        told["classes"] = 80
    return {**study, "dataset": told}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_can_be_planned(file: Path, tmp_path: Path) -> None:
    study = read_yaml(file)
    plan = make_plan(with_data_of_the_same_kind(study, tmp_path))
    assert set(plan.losses) == set(study["losses"])
