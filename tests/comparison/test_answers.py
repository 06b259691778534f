import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import friedmanchisquare, kendalltau, spearmanr

from mlcompare.comparison import (
    at_bound,
    best_so_far,
    budget_sensitivity,
    compare,
    critical_difference,
    importance,
    runs_to_separate,
    scores_by_study,
    sign_flip_test,
    trial_scores,
    wider_range,
)
from mlcompare.comparison.importance import leave_one_out_r2, rank_trend
from mlcompare.comparison.trials import kendall_tau
from mlcompare.errors import DataError

from .simulate import LOSSES, crossed, row, study


def test_families_that_differ():
    family = compare(*study(), n_resamples=1000).family
    assert (family.best_margin, family.best_metric, family.chosen_on) == ("arcface", "triplet", "validation")
    assert family.best.difference == pytest.approx(0.11, abs=0.02)
    assert family.best.ci_low < family.best.difference < family.best.ci_high
    assert family.decided
    assert family.sentence.startswith("The best tuned margin loss, arcface, beats the best tuned metric loss, triplet")
    assert family.mean.difference == pytest.approx(0.115, abs=0.02)


def test_families_that_do_not():
    results, per_class = study(means=dict.fromkeys(LOSSES, 0.6), noise=0.1)
    family = compare(results, per_class, n_resamples=1000).family
    assert not family.decided
    assert "can't be told apart" in family.sentence


def test_one_family_gives_no_answer():
    assert compare(*study(families={"triplet": "metric", "contrastive": "metric"}), n_resamples=500).family is None


def test_tunability():
    table = compare(*study(gain=0.05), n_resamples=1000).tunability.set_index("loss")
    assert table.loc["cosface", "gain"] == pytest.approx(0.05, abs=0.01)
    assert (table["ci_low"] < table["gain"]).all()
    assert (table["p_holm"] < 0.05).all()
    results, per_class = study()
    no_default = [frame[~((frame.kind == "final") & (frame.source == "default"))] for frame in (results, per_class)]
    table = compare(*no_default, n_resamples=500)
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


def test_kendall_equals_scipy(rng):
    x, y = rng.integers(0, 5, (2, 12)).astype(float)
    assert kendall_tau(x, y) == pytest.approx(kendalltau(x, y).statistic)


def test_bounds_on_both_scales():
    space = {"margin": {"low": 0.0, "high": 0.5}, "scale": {"low": 4.0, "high": 64.0, "log": True}, "mining": {}}
    assert at_bound({"margin": 0.004, "scale": 63.9}, space) == ["margin", "scale"]
    assert at_bound({"margin": 0.006, "scale": 60.0}, space) == []
    assert at_bound({"scale": "auto", "mining": "hard"}, space) == []
    assert wider_range({"margin": 0.0, "scale": 64.0}, space) == {
        "scale": {"low": 4.0, "high": 1020.0, "log": True},
    }, "a margin of 0 has nothing below it"
    assert wider_range({"margin": 0.2}, {"margin": {"low": 0.2, "high": 0.6}})["margin"]["low"] == 0.0
    assert wider_range({"bias": -1.0}, {"bias": {"low": -1.0, "high": 1.0}})["bias"]["low"] == -3.0


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


def test_more_runs_help_when_runs_are_the_noise(rng):
    noisy = runs_to_separate(crossed(rng, mean=0.02, of_class=0.0, of_run=0.05, classes=30, runs=8))
    assert noisy.runs > 8
    assert noisy.more_runs == noisy.runs - 8
    assert "more runs" in noisy.sentence
    clear = runs_to_separate(crossed(rng, mean=0.5))
    assert clear.more_runs == 0
    stuck = runs_to_separate(crossed(rng, mean=0.02, of_class=0.2, of_run=0.0, classes=30, runs=8))
    assert stuck.runs is None
    assert stuck.classes > 30
    assert runs_to_separate(np.zeros((1, 1))).runs is None


def test_the_estimated_runs_have_the_stated_power(rng):
    """With as many runs as advised, about 80 % of repetitions reach significance."""
    layout = {"mean": 0.02, "of_class": 0.02, "of_run": 0.03}
    advised = int(np.median([runs_to_separate(crossed(rng, **layout, runs=40)).runs or 0 for _ in range(20)]))
    repeated = (crossed(rng, **layout, runs=advised) for _ in range(200))
    assert 0.65 < np.mean([sign_flip_test(d, rng, n_resamples=400) <= 0.05 for d in repeated]) < 0.95


def test_separation_is_told_for_those_not_told_apart():
    results, per_class = study(means=dict.fromkeys(LOSSES, 0.6), noise=0.1)
    comparison = compare(results, per_class, n_resamples=500)
    equals = {r["loss"] for r in comparison.records() if r["indistinguishable_from_best"]} - {comparison.best}
    assert set(comparison.separation) == equals


def test_critical_difference_equals_scipy_and_demsar(rng):
    scores = pd.DataFrame(rng.random((10, 4)) + np.array([0, 0.1, 0.2, 1.5]), columns=list("abcd"))
    found = critical_difference(scores)
    assert found.p_value == pytest.approx(friedmanchisquare(*scores.to_numpy().T).pvalue)
    assert found.ranks.index[0] == "d"
    assert found.ranks.sum() == pytest.approx(10.0)
    assert found.critical_difference == pytest.approx(2.569 * np.sqrt(4 * 5 / 60), abs=1e-3)  # Demšar 2006, table 5
    assert found.p_values.loc["a", "d"] < 0.05
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


def test_several_studies_line_up():
    several = [study(seed)[0].assign(study=f"study {seed}") for seed in range(3)]
    several[1] = several[1][several[1].loss != "cosface"]
    table = scores_by_study(pd.concat(several))
    assert table.shape == (3, 4)
    assert np.isnan(table.loc["study 1", "cosface"])
    own = several[0][(several[0].loss == "triplet") & (several[0].kind == "final") & (several[0].source == "selected")]
    assert table.loc["study 0", "triplet"] == pytest.approx(own["value"].mean())
    assert critical_difference(table).datasets == ("study 0", "study 2")
