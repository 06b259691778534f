"""A study of data with a hierarchy: its losses, its metrics, its report, and what a plan refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlcompare.cli import main
from mlcompare.comparison import compare, load_results
from mlcompare.data import load_dataset
from mlcompare.errors import StudyFileError
from mlcompare.report import write_report
from mlcompare.report.dimensions import quality_by_level
from mlcompare.study import StudyConfig, make_plan, run_study


@pytest.fixture
def family(tiny: dict, tmp_path: Path) -> dict:
    """Twelve classes in six kinds in three realms, as a table of features."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(12), 8)
    centers = rng.normal(size=(12, 6)) + 2 * np.repeat(rng.normal(size=(6, 6)), 2, axis=0)
    frame = pd.DataFrame(centers[labels] + rng.normal(size=(96, 6)), columns=list("abcdef"))
    frame["label"], frame["kind"], frame["realm"] = labels, labels // 2, np.array(list("xyz"))[labels // 4]
    frame.to_parquet(tmp_path / "x.parquet")
    tiny["dataset"] = {"name": "features", "path": str(tmp_path / "x.parquet"), "levels": ["kind", "realm"]}
    tiny |= {"search": {"trials": 1}, "baselines": ["pca"]}
    tiny["losses"] = {
        "hierarchical_triplet": None,
        "contrastive": None,
        "both": {"sum": [{"loss": "cosface"}, {"loss": "hierarchical_supcon", "weight": 0.5}]},
    }
    return tiny


LEVELS = {"map_at_r_level_kind", "map_at_r_level_realm"}


def test_every_loss_is_measured_at_every_level(family: dict, tmp_path, capsys) -> None:
    run_study(family, store=tmp_path / "x", workers=2, executor="processes")
    results = load_results(tmp_path / "x")
    assert set(results["status"]) == {"ok"}
    for kind in ("final", "baseline"):
        for _, mine in results[results["kind"] == kind].groupby("loss"):
            assert set(mine["metric"]) >= LEVELS, "losses and baselines alike"
    assert not results.loc[results["kind"] == "trial", "metric"].isin(LEVELS).any()
    assert compare(tmp_path / "x", metric="map_at_r_level_realm").metric == "map_at_r_level_realm"
    means = quality_by_level(results, "map_at_r")
    assert list(means.columns) == ["class", "kind", "realm"]
    with pytest.raises(SystemExit, match="0"):
        main(["results", str(tmp_path / "x")])
    assert "map_at_r by level" in capsys.readouterr().out
    write_report([tmp_path / "x"])
    assert "map_at_r_level_kind" in (tmp_path / "x" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("populations", [True, False])
def test_a_level_may_be_the_objective(family: dict, tmp_path, populations) -> None:
    family["search"] |= {"objective": "map_at_r_level_realm"}
    family["final"] |= {"metrics": ["auc_level_kind", "map_at_r"]}
    run_study(family, store=tmp_path / "x", executor="in-process", populations=populations)
    results = load_results(tmp_path / "x")
    assert set(results["status"]) == {"ok"}
    assert {"map_at_r_level_realm", "map_at_r_level_kind", "auc_level_kind", "map_at_r"} <= set(results["metric"])
    assert compare(tmp_path / "x").metric == "map_at_r_level_realm"


def plan(study: dict, **changes):
    return make_plan(StudyConfig.model_validate({**study, **changes}))


def test_levels_without_the_samples_for_it_are_left_out(family: dict) -> None:
    whole = plan(family).metrics_of_levels
    assert set(whole) == LEVELS
    dataset = load_dataset(**family["dataset"])
    path = Path(family["dataset"]["path"])
    pd.read_parquet(path).assign(realm="all").to_parquet(path)
    assert plan(family).metrics_of_levels == ("map_at_r_level_kind",)
    assert dataset.fingerprint != load_dataset(**family["dataset"]).fingerprint


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"dataset": "digits"}, ["losses.hierarchical_triplet", "digits without levels", "levels: [kind]"]),
        ({"losses": {"m": {"loss": "multi_supcon"}}}, ["losses.m", "gives each one class", "a loop of your own"]),
        ({"final": {"metrics": ["map_at_r_level_sort"]}}, ["final.metrics", "'sort'", "known: kind, realm"]),
        ({"search": {"objective": "auc_level_kinds"}}, ["search.objective", "'kinds'", "did you mean kind"]),
        (
            {"dataset": "digits", "losses": {"cosface": None}, "search": {"objective": "auc_level_kind"}},
            ["search.objective", "give the dataset `levels`"],
        ),
        ({"search": {"objective": "accuracy_level_kind"}}, ["search.objective", "know no groups"]),
        ({"training": {"class_sample": 0.5, "classes_per_batch": 3}}, ["losses.", "must see all classes"]),
        (
            {"losses": {"m": {"memory": {"loss": "hierarchical_triplet"}}}},
            ["losses.m", "goes around a loss of anchors against references"],
        ),
    ],
)
def test_what_a_plan_refuses(family: dict, changes: dict, parts: list[str]) -> None:
    with pytest.raises(StudyFileError) as caught:
        plan(family, **changes)
    for part in parts:
        assert part in str(caught.value), str(caught.value)
