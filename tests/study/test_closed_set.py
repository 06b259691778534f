"""A closed-set study tuned and decided by accuracy."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlcompare import compare, load_results
from mlcompare.comparison.table import load_per_class
from mlcompare.study import run_study


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    import copy

    from tests.study.conftest import TINY

    study = copy.deepcopy(TINY) | {
        "protocol": {"kind": "closed_set", "folds": 2},
        "training": {"steps": 30, "classes_per_batch": 5, "samples_per_class": 4, "lr": 0.01},
        "search": {"trials": 2, "parallel": 2, "objective": "accuracy"},
    }
    path = tmp_path_factory.mktemp("closed") / "store"
    run_study(study, store=path, executor="in-process")
    return path


def test_trials_and_finals_are_scored_by_accuracy(store: Path) -> None:
    results = load_results(store)
    accuracy = results[results["metric"] == "accuracy"]
    assert set(accuracy["kind"]) == {"trial", "final", "baseline", "curve"}
    scored = accuracy[accuracy["kind"] != "curve"]
    assert scored["value"].between(0.5, 1).all(), "ten digits are not guessed"
    baselines = accuracy[accuracy["kind"] == "baseline"]
    assert baselines.groupby("loss")["fold"].nunique().to_dict() == dict.fromkeys(set(baselines["loss"]), 2)


def test_the_comparison_pairs_recalls_of_classes(store: Path) -> None:
    by_class = load_per_class(store)
    assert set(by_class["metric"]) == {"accuracy"}
    assert by_class["class"].nunique() == 10
    comparison = compare(load_results(store), by_class)
    assert comparison.metric == "accuracy"
    assert comparison.best in ("contrastive", "cosface")
