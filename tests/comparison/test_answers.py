import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import friedmanchisquare, norm, spearmanr

from mlcompare.comparison import (
    at_bound,
    best_so_far,
    budget_sensitivity,
    compare,
    critical_difference,
    importance,
    load_spaces,
    scores_by_study,
    trial_scores,
    wider_range,
)
from mlcompare.comparison.importance import leave_one_out_r2, rank_trend
from mlcompare.errors import DataError

from .simulate import row, study


def test_tunability():
    table = compare(*study(gain=0.05)).tunability.set_index("loss")
    assert table.loc["cosface", "gain"] == pytest.approx(0.05, abs=0.01)
    assert (table["ci_low"] < table["gain"]).all()
    assert (table["p_holm"] < 0.05).all()
    results, per_class = study()
    no_default = [frame[~((frame.kind == "final") & (frame.source == "default"))] for frame in (results, per_class)]
    table = compare(*no_default)
    assert table.tunability["gain"].isna().all()
    assert table.records()[0]["default_mean"] is None


def search(values, loss="triplet", status=None):
    return pd.DataFrame([
        row(loss, "metric", "trial", "sampled", i, 0, 0, "validation", value, {"margin": i / 10},
            status="ok" if np.isfinite(value) else "failed")
        for i, value in enumerate(values)
    ])  # fmt: skip


def test_best_so_far_skips_failures():
    curve = best_so_far(search([0.2, np.nan, 0.5, 0.4]), "map_at_r")
    assert curve["best"].tolist() == [0.2, 0.2, 0.5, 0.5]


def test_a_trial_with_a_failed_fold_has_no_score():
    frame = pd.concat([search([0.2, 0.3]), search([0.4, np.nan]).assign(fold=1)])
    assert trial_scores(frame, "map_at_r")["value"].tolist() == pytest.approx([0.3, np.nan], nan_ok=True)


def test_budget_sensitivity_sees_an_overtaking():
    frame = pd.concat([search([0.5, 0.5, 0.5, 0.51]), search([0.4, 0.4, 0.4, 0.9], "lifted")])
    found = budget_sensitivity(frame, "map_at_r")
    assert (found.trials, found.leader, found.leader_with_share) == (2, "lifted", "triplet")
    assert found.rank_correlation == pytest.approx(-1.0)
    assert "After 2 trials triplet led" in found.sentence
    assert found.table.set_index("loss").loc["lifted", "gain"] == pytest.approx(0.5)
    assert budget_sensitivity(search([0.5, 0.6]), "map_at_r").rank_correlation is None


def test_bounds_on_both_scales():
    space = {"margin": {"low": 0.0, "high": 0.5}, "scale": {"low": 4.0, "high": 64.0, "log": True}, "mining": {}}
    assert at_bound({"margin": 0.004, "scale": 63.9}, space) == ["margin", "scale"]
    assert at_bound({"margin": 0.006, "scale": 60.0}, space) == []
    assert at_bound({"scale": "auto", "mining": "hard"}, space) == []
    rate = {"head_lr_ratio": {"low": 1.0, "high": 1000.0, "log": True, "default": 1.0}}
    assert at_bound({"head_lr_ratio": 1.0}, rate) == [], "the paper's setting was selected"
    assert at_bound({"head_lr_ratio": 1.01}, rate) == ["head_lr_ratio"]
    assert wider_range({"margin": 0.0, "scale": 64.0}, space) == {
        "scale": {"low": 4.0, "high": 1020.0, "log": True},
    }, "a margin of 0 has nothing below it"
    assert wider_range({"margin": 0.2}, {"margin": {"low": 0.2, "high": 0.6}})["margin"]["low"] == 0.0
    assert wider_range({"bias": -1.0}, {"bias": {"low": -1.0, "high": 1.0}})["bias"]["low"] == -3.0


@pytest.mark.parametrize(
    ("space", "value", "expected"),
    [
        ({"low": 0.2, "high": 0.8, "maximum": 1.0}, 0.8, (0.2, 1.0)),  # a share
        ({"low": 0.5, "high": 1.0, "maximum": 1.0}, 1.0, None),  # ends with its domain already
        ({"low": 0.5, "high": 0.9, "minimum": 0.25}, 0.5, (0.25, 0.9)),
        ({"low": -1.0, "high": 1.0, "minimum": -1.0}, -1.0, None),
        ({"low": 1.0, "high": 4.0, "minimum": 1, "integer": True}, 4, (1.0, 7.0)),
        ({"low": 2, "high": 64, "log": True, "integer": True, "minimum": 1}, 2, (1.0, 64.0)),
        ({"low": 0.1, "high": 2.0, "positive": True}, 0.1, (0.01, 2.0)),  # 0 isn't in the domain
        ({"low": 1e-4, "high": 1.0, "log": True, "maximum": 1.0}, 1.0, None),
    ],
)
def test_suggested_ranges_stay_in_the_domain(space, value, expected):
    found = wider_range({"x": value}, {"x": space})
    assert (found == {}) if expected is None else ((found["x"]["low"], found["x"]["high"]) == expected)


def test_the_domain_comes_from_the_store(tmp_path):
    (tmp_path / "study.json").write_text(
        json.dumps({"spaces": {"ccl": {"momentum": {"low": 0.9, "high": 0.99, "maximum": 1.0}}}})
    )
    assert wider_range({"momentum": 0.99}, load_spaces(tmp_path)["ccl"])["momentum"]["high"] == 1.0


def test_importance_finds_what_matters(rng):
    rows = []
    for i in range(30):
        setting = {"margin": rng.random(), "scale": float(np.exp(rng.uniform(1, 5))), "mining": "hard", "fixed": 1.0}
        value = 0.5 - (setting["margin"] - 0.5) ** 2 + 0.01 * rng.normal()
        rows.append(row("arcface", "margin", "trial", "sampled", i, 0, 0, "validation", value, setting))
    table = importance(pd.DataFrame(rows), rng).set_index("hyperparameter")
    assert set(table.index) == {"margin", "scale"}
    assert table.loc["margin", "importance"] > 0.8
    assert table.loc["scale", "importance"] < 0.2
    assert abs(table.loc["margin", "best_value"] - 0.5) < 0.2
    errors = pd.DataFrame(rows).assign(metric="eer", value=[1 - r["value"] for r in rows])
    assert importance(errors, rng)["best_value"].tolist() == table["best_value"].tolist()
    few = importance(pd.DataFrame(rows[:4]), rng)
    assert few["importance"].isna().all()
    lone = pd.DataFrame(rows).assign(hyperparameters=json.dumps({}))
    assert importance(lone, rng).empty


def test_trend_equals_scipy_and_is_calibrated(rng):
    x, y = rng.normal(size=(2, 15))
    assert rank_trend(x, y, rng)[0] == pytest.approx(spearmanr(x, y).statistic)
    p_values = [rank_trend(rng.normal(size=12), rng.normal(size=12), rng, n_resamples=199)[1] for _ in range(400)]
    assert np.mean(np.array(p_values) <= 0.05) < 0.08


def test_left_out_r2_of_noise_is_nothing(rng):
    assert np.mean([leave_one_out_r2(rng.normal(size=12), rng.normal(size=12)) for _ in range(100)]) < 0.1
    assert leave_one_out_r2(np.array([0.0, 0.0, 1.0, 1.0]), np.array([1.0, 1.0, 1.0, 1.0])) == 0.0


def test_critical_difference_equals_scipy_and_demsar(rng):
    scores = pd.DataFrame(rng.random((10, 4)) + np.array([0, 0.1, 0.2, 1.5]), columns=list("abcd"))
    found = critical_difference(scores)
    assert found.p_value == pytest.approx(friedmanchisquare(*scores.to_numpy().T).pvalue)
    assert found.ranks.index[0] == "d"
    assert found.ranks.sum() == pytest.approx(10.0)
    assert found.critical_difference == pytest.approx(2.569 * np.sqrt(4 * 5 / 60), abs=1e-3)  # Demšar 2006, table 5
    assert found.p_values.loc["a", "d"] < 0.05
    edge = found.critical_difference * 0.999, found.critical_difference * 1.001
    told = [(gap, p) for gap, p in zip(np.abs(np.subtract.outer(*[found.ranks.to_numpy()] * 2)).ravel(),
                                       found.p_values.to_numpy().ravel())]  # fmt: skip
    assert all(p > 0.05 for gap, p in told if gap < edge[0])
    assert all(p < 0.05 for gap, p in told if gap > edge[1])
    joined = [group for group in found.groups if "a" in group]
    assert joined
    assert not any("d" in group for group in joined)


def test_critical_difference_with_holes(rng):
    scores = pd.DataFrame(rng.random((3, 3)), columns=list("abc"), index=["orl", "digits", "blobs"])
    scores.loc["digits", "b"] = np.nan
    assert critical_difference(scores).datasets == ("orl", "blobs")
    alone = critical_difference(scores.iloc[:1])
    assert alone.critical_difference is None
    assert alone.groups == (tuple(alone.ranks.index),)
    flipped = critical_difference(scores, higher=False)
    assert flipped.ranks.index[0] == critical_difference(scores).ranks.index[-1]
    with pytest.raises(DataError):
        critical_difference(scores.iloc[1:2])


def test_nemenyi_p_values_of_two_losses_are_those_of_a_normal(rng):
    """For k = 2, the studentized range of two is √2 |z|."""
    scores = pd.DataFrame({"a": rng.random(9), "b": rng.random(9) + 0.4})
    found = critical_difference(scores)
    z = abs(found.ranks["a"] - found.ranks["b"]) / np.sqrt(2 * 3 / (6 * 9))
    assert found.p_values.loc["a", "b"] == pytest.approx(2 * norm.sf(z), abs=1e-6)


def test_studies_on_the_same_data_count_once(rng):
    scores = pd.DataFrame(
        rng.random((5, 3)), columns=list("abc"), index=["orl", "orl noise", "orl tail", "mnist", "cars"]
    )
    data = {"orl": "faces", "orl noise": "faces", "orl tail": "faces", "mnist": "digits"}
    found = critical_difference(scores, data=data)
    assert (found.datasets, found.studies) == (("faces", "digits", "cars"), 5)
    averaged = pd.concat([scores.iloc[:3].mean().to_frame("faces").T, scores.iloc[3:]])
    pd.testing.assert_series_equal(found.ranks, critical_difference(averaged).ranks)
    assert found.critical_difference > critical_difference(scores).critical_difference
    alone = critical_difference(scores.iloc[:3], data=data)
    assert (alone.critical_difference, alone.datasets, alone.studies) == (None, ("faces",), 3)


def test_several_studies_line_up():
    several = [study(seed)[0].assign(study=f"study {seed}") for seed in range(3)]
    several[1] = several[1][several[1].loss != "cosface"]
    table = scores_by_study(pd.concat(several))
    assert table.shape == (3, 4)
    assert np.isnan(table.loc["study 1", "cosface"])
    own = several[0][(several[0].loss == "triplet") & (several[0].kind == "final") & (several[0].source == "selected")]
    assert table.loc["study 0", "triplet"] == pytest.approx(own["value"].mean())
    assert critical_difference(table).datasets == ("study 0", "study 2")
