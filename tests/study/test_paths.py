"""Relative paths of a study file, and mapped samples that are not copied for workers."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from mlcompare.data import Dataset, cache, load_dataset
from mlcompare.execution.data_file import lay_out, open_data
from mlcompare.study import read_study
from mlcompare.training import TrainingData


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "here").mkdir()
    (tmp_path / "studies" / "images").mkdir(parents=True)
    (tmp_path / "studies" / "pairs.txt").touch()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def read(folder: Path, **sections) -> tuple[str, str | None]:
    study = {"name": "x", "losses": {"cosface": None}, **sections}
    (folder / "studies" / "x.yaml").write_text(yaml.safe_dump(study))
    config = read_study(os.path.join("..", "studies", "x.yaml"))
    return config.dataset.options.get("path"), config.protocol.pairs


def test_the_folder_we_are_in_comes_first_then_that_of_the_file(elsewhere: Path) -> None:
    dataset = {"name": "image_folder", "path": "images"}
    assert read(elsewhere, dataset=dataset)[0] == str(elsewhere / "studies" / "images")
    (elsewhere / "here" / "images").mkdir()
    assert read(elsewhere, dataset=dataset)[0] == "images"
    assert read(elsewhere, dataset={**dataset, "path": "nowhere"})[0] == "nowhere"
    absolute = str(elsewhere / "nowhere")
    assert read(elsewhere, dataset={**dataset, "path": absolute})[0] == absolute
    protocol = {"kind": "verification_pairs", "pairs": "pairs.txt"}
    assert read(elsewhere, dataset=dataset, protocol=protocol)[1] == str(elsewhere / "studies" / "pairs.txt")


def test_values_of_other_types_are_left_to_the_checks(elsewhere: Path) -> None:
    for path in (3, None, "x" * 5000, "a\0b"):
        assert read(elsewhere, dataset={"name": "image_folder", "path": path})[0] == path


def test_workers_map_the_file_that_the_samples_lie_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "IN_MEMORY", 10)
    for number in range(6):
        file = tmp_path / "images" / f"c{number % 2}" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 10 * number).save(file)
    load_dataset("image_folder", path=str(tmp_path / "images"), size=8)  # the first open builds the cache
    data = load_dataset("image_folder", path=str(tmp_path / "images"), size=8)
    laid = lay_out(TrainingData(data, None), tmp_path / "store")
    assert Path(laid[0]).parents[1] == tmp_path / ".mlcompare-cache"
    assert not (tmp_path / "store").exists()
    assert np.array_equal(open_data(laid).dataset.samples, data.samples)


def test_what_is_only_part_of_a_file_is_written_out(tmp_path: Path) -> None:
    np.save(tmp_path / "all.npy", np.arange(6 * 4, dtype=np.float32).reshape(6, 4))
    mapped = np.load(tmp_path / "all.npy", mmap_mode="c")
    labels = np.array([0, 0, 1, 1])
    for number, part in enumerate((mapped[:4], mapped[2:], mapped[::-1][:4], np.array(mapped[:4]))):
        data = Dataset("part", part, labels, ("a", "b"))
        laid = lay_out(TrainingData(data, None), tmp_path / f"store{number}")
        assert Path(laid[0]).parent == tmp_path / f"store{number}"
        assert np.array_equal(open_data(laid).dataset.samples, part)
    turned = Dataset("turned", mapped[::-1], np.zeros(6, np.int64), ("a",))
    laid = lay_out(TrainingData(turned, None), tmp_path / "turned")
    assert np.array_equal(open_data(laid).dataset.samples, mapped[::-1])
