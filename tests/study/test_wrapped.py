"""Wrapped losses in a study, from its file to its report."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mlcompare.comparison import compare, load_results
from mlcompare.report import write_report
from mlcompare.study import run_study


@pytest.mark.parametrize("options", [{"populations": True}, {"populations": False}], ids=["together", "alone"])
def test_quality_against_dimension(tiny: dict, tmp_path, options) -> None:
    tiny["losses"] = {
        "cosface": {"scale": 16},
        "nested": {"matryoshka": {"loss": "cosface", "scale": 16}, "prefixes": "4,2", "heads": ["own", "shared"]},
        "spread": {"sum": [{"matryoshka": {"loss": "triplet"}, "prefixes": "4"}, {"loss": "anti_collapse"}]},
    }
    run_study(tiny, store=tmp_path / "x", **options)
    results = load_results(tmp_path / "x")
    finals = results[results["kind"] == "final"]
    assert set(finals["status"]) == {"ok"}
    for loss in tiny["losses"]:
        assert {"map_at_r", "map_at_r_in_4", "map_at_r_in_2"} <= set(finals.loc[finals["loss"] == loss, "metric"]), (
            "every loss, at every size"
        )
    baselines = results[results["kind"] == "baseline"]
    assert not baselines["metric"].str.contains("_in_").any()
    assert compare(tmp_path / "x", metric="map_at_r_in_2").metric == "map_at_r_in_2"
    write_report([tmp_path / "x"])
    assert "map_at_r_in_4" in (tmp_path / "x" / "report.html").read_text(encoding="utf-8")


def test_a_memory_is_tuned(tiny: dict, tmp_path) -> None:
    tiny["losses"] = {
        "triplet": None,
        "remembered": {"memory": {"loss": "triplet"}, "size": [12, 48], "start": 0.0},
        "both": {"sum": [{"loss": "cosface"}, {"memory": {"loss": "contrastive"}, "N": 24, "weight": 0.1}]},
    }
    tiny["search"] = {"trials": 6, "start": "cold", "racing": False}
    run_study(tiny, store=tmp_path / "x")
    results = load_results(tmp_path / "x")
    assert set(results["status"]) == {"ok"}
    asked = results.loc[(results["loss"] == "remembered") & (results["kind"] == "trial"), "hyperparameters"]
    assert {12, 48} == {json.loads(values)["size"] for values in asked}
    assert np.isfinite(results.loc[results["metric"] == "map_at_r", "value"]).all()
