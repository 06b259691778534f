"""Wrapped losses in a study, from its file to its report."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mlcompare.challenge.leaders import fixed_entry
from mlcompare.cli import main
from mlcompare.comparison import compare, load_results
from mlcompare.report import write_report
from mlcompare.report.dimensions import quality_by_dimension
from mlcompare.study import run_study
from mlcompare.study.entries import parse_entry


@pytest.mark.parametrize("options", [{"populations": True}, {"populations": False}], ids=["together", "alone"])
def test_quality_against_dimension(tiny: dict, tmp_path, capsys, options) -> None:
    tiny["losses"] = {
        "cosface": {"scale": 16},
        "nested": {"matryoshka": {"loss": "cosface", "scale": 16}, "prefixes": "4,2", "heads": ["own", "shared"]},
        "spread": {"sum": [{"matryoshka": {"loss": "triplet"}, "prefixes": "4"}, {"loss": "anti_collapse"}]},
    }
    run_study(tiny, store=tmp_path / "x", executor="in-process", **options)
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
    means = quality_by_dimension(results, "map_at_r")
    assert list(means.columns) == [0, 4, 2]
    assert means.loc["nested", 2] == pytest.approx(
        finals[(finals["loss"] == "nested") & (finals["source"] == "selected") & (finals["metric"] == "map_at_r_in_2")]
        .groupby("fold")["value"].mean().mean()
    )  # fmt: skip
    with pytest.raises(SystemExit, match="0"):
        main(["results", str(tmp_path / "x")])
    assert "map_at_r by dimension" in capsys.readouterr().out
    write_report([tmp_path / "x"])
    page = (tmp_path / "x" / "report.html").read_text(encoding="utf-8")
    assert "Quality by dimension" in page
    assert "first 4" in page
    assert "map_at_r_in_4" not in page.split("Every metric on the sealed")[1].split("</table>")[0], "once is enough"


def test_a_memory_is_tuned(tiny: dict, tmp_path) -> None:
    tiny["losses"] = {
        "triplet": None,
        "remembered": {"memory": {"loss": "triplet"}, "size": [12, 48], "start": 0.0},
        "both": {"sum": [{"loss": "cosface"}, {"memory": {"loss": "contrastive"}, "N": 24, "weight": 0.1}]},
    }
    tiny["search"] = {"trials": 6, "start": "cold", "racing": False}
    run_study(tiny, store=tmp_path / "x", executor="in-process")
    results = load_results(tmp_path / "x")
    assert set(results["status"]) == {"ok"}
    asked = results.loc[(results["loss"] == "remembered") & (results["kind"] == "trial"), "hyperparameters"]
    assert {12, 48} == {json.loads(values)["size"] for values in asked}
    assert np.isfinite(results.loc[results["metric"] == "map_at_r", "value"]).all()


@pytest.mark.parametrize(
    "given",
    [
        {"loss": "cosface", "margin": 0.2},
        {"matryoshka": {"loss": "cosface", "margin": 0.2}, "prefixes": "4", "lr": 0.01},
        {"sum": [{"loss": "cosface"}, {"memory": {"loss": "contrastive", "m": 0.4}, "size": 24, "weight": 0.1}]},
        {"matryoshka": {"memory": {"loss": "triplet"}, "size": 24, "start": 0.2}, "heads": "shared"},
        {
            "stages": [
                {"loss": "softmax", "share": 0.3},
                {"memory": {"sum": [{"loss": "triplet"}, {"loss": "ring_term"}]}},
            ]
        },
    ],
    ids=str,
)
def test_an_entry_with_its_values_fixed_is_the_same_entry(given) -> None:
    entry, space = parse_entry("x", given, training={}, base={})
    setting = {name: getattr(dimension, "default", dimension) for name, dimension in space.items()}
    again, fixed = parse_entry("x", fixed_entry(entry, setting), training={}, base={})
    assert again == entry
    assert fixed == setting
