"""Labels that may be wrong are found by the final models' neighbours, told, and never removed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mlcompare.data import Dataset
from mlcompare.report import write_report
from mlcompare.study import run_study
from mlcompare.study.label_suspects import find_suspects


@pytest.fixture
def study(tmp_path: Path) -> dict:
    """Sixteen tight classes of ten samples; three samples of the development classes have a neighbour's label."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(16), 10)
    features = (3 * rng.normal(size=(16, 12)))[labels] + 0.1 * rng.normal(size=(160, 12))
    told = np.array([f"class{label:02}" for label in labels])
    np.savez(tmp_path / "data.npz", features=features.astype(np.float32), labels=told)
    return {
        "name": "wrong", "dataset": {"name": "features", "path": str(tmp_path / "data.npz")},
        "protocol": {"test_classes": 0.25, "folds": 3}, "encoder": {"name": "linear", "embedding_dim": 8},
        "training": {"steps": 5, "classes_per_batch": 4, "samples_per_class": 3}, "search": {"trials": 1},
        "final": {"seeds": 1}, "losses": {"cosface": None, "triplet": None}, "baselines": [],
    }  # fmt: skip


def swapped(study: dict, tmp_path: Path) -> list[tuple[int, str]]:
    """Give a sample of a validation class of each fold another validation class's label; return them."""
    from mlcompare.study import make_plan
    from mlcompare.study.config import validated

    data = make_plan(validated(study, "study")).data
    arrays = dict(np.load(tmp_path / "data.npz"))
    found = []
    for fold in data.splits.folds:
        labels = data.dataset.labels[fold.validation]
        one, other = np.unique(labels)[:2]
        row = int(fold.validation[labels == one][0])
        true = str(arrays["labels"][row])
        arrays["labels"][row] = data.dataset.class_names[other]
        found.append((row, true))
    np.savez(tmp_path / "data.npz", **arrays)
    return found


@pytest.mark.parametrize("populations", [False, True])
def test_wrong_labels_are_found_and_told(study: dict, tmp_path: Path, populations: bool) -> None:
    wrong = swapped(study, tmp_path)
    run_study(study, tmp_path / "store", executor="in-process", populations=populations)
    kept = json.loads((tmp_path / "store/artifacts/label_suspects.json").read_text(encoding="utf-8"))
    assert {(s["row"], s["looks_like"]) for s in kept} == set(wrong)
    assert all(s["doubting"] == s["models"] == 2 for s in kept), "both losses' models of the fold"
    write_report([tmp_path / "store"], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Labels that may be wrong" in page
    assert all(true in page for _, true in wrong)


def test_right_labels_are_not(study: dict, tmp_path: Path) -> None:
    run_study(study, tmp_path / "store", executor="in-process")
    assert json.loads((tmp_path / "store/artifacts/label_suspects.json").read_text(encoding="utf-8")) == []
    write_report([tmp_path / "store"], tmp_path / "report.html")
    assert "Labels that may be wrong" not in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("around", "doubted"),
    [([1, 1, 1, 1, 1], True), ([1, 1, 1, 1, 2], True), ([1, 1, 1, 2, 2], False), ([1, 1, 1, 1, 0], False)],
)
def test_what_a_model_doubts(around: list[int], doubted: bool) -> None:
    labels = np.array([0, 0, 1, 2])
    data = Dataset("x", np.zeros((4, 1), np.float32), labels, ("a", "b", "c"))
    first = {0: 0, 1: 2, 2: 3}
    model = np.array([1]), np.array([[first[label] for label in around]])
    found = find_suspects(data, [model, model, model])
    assert [(s.row, s.looks_like) for s in found] == ([(1, "b")] if doubted else [])
    assert find_suspects(data, [model]) == [], "one model says too little"
    calm = np.array([1]), np.array([[0, 0, 0, 0, 0]])
    assert find_suspects(data, [model, calm]) == [], "half of them are no two thirds"
