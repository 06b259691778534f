"""A study is what its content is: paths may be written in any way, and data and stores may move."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient
from PIL import Image

from mlcompare.cli import main
from mlcompare.errors import StoreError
from mlcompare.study import read_study, run_study
from mlcompare.study.doctor import check_store, rebuild_views
from mlcompare.tracking import local_uri, server_command
from mlcompare.tracking.study_runs import run_identities


@pytest.fixture
def study(tiny: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """A study on images in ``project/images``; we are in ``project``."""
    generator = np.random.default_rng(0)
    for label in range(6):
        for number in range(4):
            file = tmp_path / "project" / "images" / f"c{label}" / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(0, 255, (8, 8), dtype=np.uint8)).save(file)
    monkeypatch.chdir(tmp_path / "project")
    tiny |= {"dataset": {"name": "image_folder", "path": "images", "size": [8, 8], "channels": 1}}
    tiny["training"] |= {"classes_per_batch": 2, "samples_per_class": 2}
    return tiny | {"losses": {"cosface": None}, "search": {"trials": 1}, "baselines": []}


def written(study: dict, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(study))
    return path


def test_the_same_study_resumes_from_anywhere_and_however_its_path_is_written(
    study: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, store = written(study, tmp_path / "project" / "study.yaml"), tmp_path / "store"
    first = run_study(file, store, executor="in-process")
    assert first.trained
    known = json.loads((store / "study.json").read_text())
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    whole = str(tmp_path / "project" / "images")
    shutil.copytree(whole, tmp_path / "elsewhere" / "copy")
    for path in ("images", whole, "../project/./images/", "~/project/images", "copy"):
        study["dataset"]["path"] = path
        again = run_study(written(study, tmp_path / "project" / "study.yaml"), store, executor="in-process")
        assert (again.trained, again.resumed) == (0, first.trained)
        kept = json.loads((store / "study.json").read_text())
        assert os.path.isdir(kept["places"]["dataset.path"])
        assert run_identities(kept) == run_identities(known), "no run is logged twice"
    assert kept["places"]["dataset.path"] == str(tmp_path / "elsewhere" / "copy"), "where it was last"


def test_options_that_leave_the_content_as_it_is_are_no_difference(study: dict, tmp_path: Path) -> None:
    run_study(study, tmp_path / "store", executor="in-process")
    study["dataset"] |= {"cache": str(tmp_path / "kept"), "skip_corrupt": True, "max_pixels": 10**6}
    assert run_study(study, tmp_path / "store", executor="in-process").trained == 0


def test_other_content_under_the_same_path_is_another_study(study: dict, tmp_path: Path) -> None:
    run_study(study, tmp_path / "store", executor="in-process")
    before = (tmp_path / "store" / "study.json").read_bytes()
    Image.new("L", (8, 8), 3).save(tmp_path / "project" / "images" / "c0" / "0.png")
    with pytest.raises(StoreError, match="a store belongs to one study, got dataset: "):
        run_study(study, tmp_path / "store", executor="in-process")
    study["dataset"]["size"] = [4, 4]
    with pytest.raises(StoreError, match=r"study.dataset.size: \[8, 8\] → \[4, 4\]"):
        run_study(study, tmp_path / "store", executor="in-process")
    assert (tmp_path / "store" / "study.json").read_bytes() == before


@pytest.mark.parametrize("frozen", [False, True])
def test_weights_beside_the_study_file_are_found_and_may_move(
    study: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frozen: bool
) -> None:
    study["encoder"] = {"name": "linear", "embedding_dim": 8, "weights": "mine.pt", "frozen": frozen}
    weights = {"1.weight": torch.randn(8, 64), "1.bias": torch.zeros(8)}
    file = written(study, tmp_path / "studies" / "study.yaml")
    torch.save(weights, tmp_path / "studies" / "mine.pt")
    assert read_study(file).encoder.weights == str(tmp_path / "studies" / "mine.pt")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first = run_study(file, tmp_path / "store", executor="in-process")
    known = json.loads((tmp_path / "store" / "study.json").read_text())
    (tmp_path / "studies" / "mine.pt").rename(tmp_path / "project" / "mine.pt")
    again = run_study(file, tmp_path / "store", executor="in-process")
    assert (again.trained, again.resumed) == (0, first.trained)
    kept = json.loads((tmp_path / "store" / "study.json").read_text())
    assert kept["study"]["encoder"]["weights"] != known["study"]["encoder"]["weights"]
    assert run_identities(kept) == run_identities(known)
    torch.save({"1.weight": torch.randn(8, 64), "1.bias": torch.ones(8)}, tmp_path / "project" / "mine.pt")
    if not frozen:  # of a frozen encoder only the body counts, and a linear one has none
        with pytest.raises(StoreError, match="weights: "):
            run_study(file, tmp_path / "store", executor="in-process")


def test_pairs_may_be_written_in_another_way(study: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for label in range(6):
        folder = tmp_path / "project" / "images" / f"c{label}"
        for number in range(4):
            (folder / f"{number}.png").rename(folder / f"c{label}_000{number}.png")
    text = "1\t2\nc0\t1\t2\nc1\t1\t2\nc0\t1\tc1\t2\nc0\t3\tc1\t3\n"
    (tmp_path / "project" / "pairs.txt").write_text(text)
    study["protocol"] = {"kind": "verification_pairs", "pairs": "pairs.txt", "folds": 2}
    study["search"] |= {"objective": "auc"}
    first = run_study(study, tmp_path / "store", executor="in-process")
    monkeypatch.setenv("HOME", str(tmp_path / "project"))
    study["protocol"]["pairs"] = "~/pairs.txt"
    again = run_study(study, tmp_path / "store", executor="in-process")
    assert (again.trained, again.resumed) == (0, first.trained)
    (tmp_path / "project" / "pairs.txt").write_text(text.replace("c0\t3\tc1\t3", "c0\t2\tc1\t3"))
    with pytest.raises(StoreError, match="a store belongs to one study"):
        run_study(study, tmp_path / "store", executor="in-process")


def test_every_command_takes_the_home_folder(
    study: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    written(study, tmp_path / "study.yaml")
    for words in (
        ["run", "~/study.yaml", "--store", "~/s t/store", "--executor", "in-process"],
        ["check", "~/study.yaml"],
        ["results", "~/s t/store"],
        ["report", "~/s t/store", "--out", "~/r.html"],
        ["doctor", "~/s t/store"],
        ["export", "~/s t/store", "cosface", "--out", "~/model", "--far", "0.5", "--data", "~/project/images"],
        ["embed", "~/model", "~/project/images", "--out", "~/e.npz"],
    ):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert not ended.value.code, capsys.readouterr().err
    assert {"s t", "r.html", "model", "e.npz"} <= {path.name for path in tmp_path.iterdir()}
    assert not (tmp_path / "project" / "~").exists()


def artifacts(store: Path) -> dict[str, list[str]]:
    """The artifacts of each run that has some, where the store's database says that they are."""
    with sqlite3.connect(store / "mlflow.db") as known:
        runs = known.execute("SELECT name, artifact_uri FROM runs WHERE lifecycle_stage = 'active'").fetchall()
    listed = {name: get_artifact_repository(place).list_artifacts("weights") for name, place in runs}
    return {name: sorted(file.path for file in files) for name, files in listed.items() if files}


@pytest.mark.parametrize("name", ["moved", "a%20 b", "größe#1"])
@pytest.mark.parametrize("how", ["dashboard", "run", "rebuild"])
def test_a_moved_store_lists_its_artifacts(study: dict, tmp_path: Path, how: str, name: str) -> None:
    run_study(study, tmp_path / "store", executor="in-process")
    wanted = artifacts(tmp_path / "store")
    assert wanted
    store = tmp_path / "there" / name
    shutil.copytree(tmp_path / "store", store)
    shutil.rmtree(tmp_path / "store")
    assert artifacts(store) == {}
    (told,) = [line for line in check_store(store) if line.startswith("moved")]
    assert not [line for line in check_store(store) if line.startswith("fault")], "the next command puts it right"
    assert "moved or copied" in told
    if how == "dashboard":
        server_command(store, "127.0.0.1", 5000)
    elif how == "run":
        run_study(study | {"final": {"seeds": 2}}, store, executor="in-process", extend=True)
    else:
        rebuild_views(store)
    assert set(wanted) <= set(artifacts(store))
    assert not [line for line in check_store(store) if line.startswith(("fault", "moved"))]
    assert not (tmp_path / "store").exists(), "nothing is written where it was"


def test_a_copy_leaves_the_original_alone(study: dict, tmp_path: Path) -> None:
    run_study(study, tmp_path / "store", executor="in-process")
    wanted = artifacts(tmp_path / "store")
    shutil.copytree(tmp_path / "store", tmp_path / "copy")
    server_command(tmp_path / "copy", "127.0.0.1", 5000)
    shutil.rmtree(tmp_path / "store" / "artifacts" / "mlflow")
    assert artifacts(tmp_path / "copy") == wanted
    assert artifacts(tmp_path / "store") == {}


def test_experiments_of_others_keep_their_address(study: dict, tmp_path: Path) -> None:
    run_study(study, tmp_path / "store", executor="in-process")
    client = MlflowClient(tracking_uri=local_uri(tmp_path / "store"))
    client.create_experiment("mine", artifact_location="file:///mine/artifacts")
    shutil.copytree(tmp_path / "store", tmp_path / "copy")
    server_command(tmp_path / "copy", "127.0.0.1", 5000)
    with sqlite3.connect(tmp_path / "copy" / "mlflow.db") as known:
        places = dict(known.execute("SELECT name, artifact_location FROM experiments"))
    assert places["mine"] == "file:///mine/artifacts"
    assert places["tiny"] == (tmp_path / "copy" / "artifacts" / "mlflow").as_uri()
