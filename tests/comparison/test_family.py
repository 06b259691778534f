"""The families' answer, and that sentence, table and ranking never contradict each other."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcompare.comparison import compare, leader_sentence
from mlcompare.comparison.pairwise import pair

from .simulate import LOSSES, study

OTHER = {"margin": "metric", "metric": "margin"}


def test_families_that_differ():
    comparison = compare(*study())
    family = comparison.family
    assert (family.best_margin, family.best_metric, family.chosen_on) == ("arcface", "triplet", "validation")
    assert family.best.difference == pytest.approx(0.11, abs=0.02)
    assert family.best.ci_low < family.best.difference < family.best.ci_high
    assert (family.leader, family.decided, family.unbeaten) == ("margin", True, ())
    assert family.sentence.startswith(
        "Margin losses lead: arcface, the best margin loss on validation, beats every metric"
    )
    assert family.mean.difference == pytest.approx(0.115, abs=0.02)
    against = [pair(comparison.pairwise, "arcface", name)["p_value"] for name in ("triplet", "contrastive")]
    assert family.p_value == max(against)


def test_families_that_do_not():
    family = compare(*study(means=dict.fromkeys(LOSSES, 0.6), noise=0.1)).family
    assert not family.decided
    assert family.sentence.startswith("Neither family leads")


def test_one_family_gives_no_answer():
    assert compare(*study(families={"triplet": "metric", "contrastive": "metric"})).family is None


def test_one_equal_in_the_other_family_is_enough():
    """arcface beats contrastive by far, and so the best metric loss on validation; triplet is as good on the test."""
    results, per_class = study(means={"triplet": 0.71, "contrastive": 0.5, "cosface": 0.6, "arcface": 0.71}, noise=0.05)
    behind = (results.loss == "triplet") & (results.kind == "trial")
    results.loc[behind, "value"] = 0.4
    family = compare(results, per_class).family
    assert family.best_metric == "contrastive"
    assert family.best.p_value < 0.001
    assert family.leader is None
    assert "triplet" in family.unbeaten
    assert "can't be told apart from triplet" in family.sentence
    assert "On the test classes another metric loss has the best mean, triplet" in family.sentence


def test_validation_names_the_best_by_the_objective_whatever_is_compared():
    results, per_class = study()
    final = results[results.kind != "trial"]
    both = pd.concat([results, final.assign(metric="eer", value=1 - final.value)])
    family = compare(both, metric="eer").family
    assert (family.chosen_on, family.best_margin) == ("validation", compare(results, per_class).family.best_margin)
    assert family.leader == "margin"


def test_failures_and_baselines_are_named():
    results, per_class = study(means=dict(zip(LOSSES, (0.2, 0.2, 0.2, 0.22))))
    lost = (results.loss == "cosface") & (results.kind == "final")
    results.loc[lost, ["value", "status", "reason"]] = np.nan, "failed", "loss is NaN at step 3"
    partly = (
        (results.loss == "triplet") & (results.kind == "final") & (results.fold == 0) & (results.source == "selected")
    )
    results.loc[partly, ["value", "status", "reason"]] = np.nan, "failed", "out of memory"
    sentence = compare(results, per_class[per_class.loss != "cosface"]).family.sentence
    assert "Without a score, so not compared: cosface (loss is NaN at step 3)." in sentence
    assert "Failed: 2 of 8 final runs of triplet." in sentence
    assert "No loss scores as high as a baseline: pixels." in sentence
    alone = study(
        families={"triplet": "metric", "contrastive": "metric"}, means=dict(zip(LOSSES, (0.2, 0.2, 0.2, 0.2)))
    )
    notes = [compare(results, per_class[per_class.loss != "cosface"]).notes, compare(*alone).notes]
    assert [any("as high as a baseline" in note for note in told) for told in notes] == [False, True], "said once"


def test_a_baseline_of_the_same_score_is_not_higher():
    results, per_class = study()
    results.loc[results.loss == "pixels", "value"] = compare(results, per_class).table["mean"].max()
    assert "baseline" not in compare(results).family.sentence


def test_equal_means_share_the_first_place():
    results, per_class = study(families={"a": "margin", "b": "margin"}, means={"a": 0.5, "b": 0.5})
    same = [frame[frame.loss == "a"].assign(loss="b") for frame in (results, per_class)]
    both = [pd.concat([f[f.loss == "a"], s]) for f, s in zip((results, per_class), same)]
    assert leader_sentence(compare(*both)).startswith("The best tuned losses are a and b: map_at_r")


@st.composite
def tables(draw):
    """Random studies: few losses of both families, effects from none to large, failures, baselines, odd validation."""
    count = draw(st.integers(2, 5))
    families = {f"loss{i}": draw(st.sampled_from(["margin", "metric"])) for i in range(count)}
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spread = draw(st.sampled_from([0.0, 0.02, 0.06, 0.2]))
    means = {name: 0.5 + spread * rng.normal() for name in families}
    folds, seeds, classes = draw(st.sampled_from([(4, 2, 12), (2, 1, 12), (3, 1, 5), (5, 1, 1), (1, 2, 8), (1, 1, 6)]))
    options = {"noise": draw(st.sampled_from([0.005, 0.05])), "trials": 1, "folds": folds, "seeds": seeds}
    results, per_class = study(int(rng.integers(1000)), means, classes, families=families, **options)
    if draw(st.booleans()):  # validation says something else
        trials = results.kind == "trial"
        results.loc[trials, "value"] = results.loc[trials, "loss"].map({name: rng.random() for name in families})
    if draw(st.booleans()):  # a run, a fold or all of a loss fails
        lost = (results.loss == "loss0") & (results.kind == "final") & (results.fold <= draw(st.integers(0, 4)))
        results.loc[lost, ["value", "status", "reason"]] = np.nan, "failed", "diverged"
        keys = ["loss", "source", "fold", "seed"]
        gone, here = (pd.MultiIndex.from_frame(frame[keys].astype(object)) for frame in (results[lost], per_class))
        per_class = per_class[~here.isin(gone)]
    return results, (per_class if draw(st.booleans()) else None)


@settings(max_examples=120, deadline=None)
@given(table=tables(), metric=st.sampled_from(["map_at_r", "eer"]))
def test_sentence_table_and_ranking_agree(table, metric):
    results, per_class = (None if frame is None else frame.assign(metric=metric) for frame in table)
    comparison = compare(results, per_class)
    rows = {row["loss"]: row for row in comparison.records()}
    family, best = comparison.family, comparison.best
    losses = [row for row in rows.values() if row["family"] != "baseline"]
    scored = [row for row in losses if row["mean"] is not None]
    sign = -1.0 if metric == "eer" else 1.0

    for row in scored:  # a loss's mark, corrected p-value and corrected interval say one thing
        if row["p_value"] is not None:
            told = not row["difference_low"] < 0 < row["difference_high"]
            assert row["indistinguishable_from_best"] is (row["p_value"] > 0.05)
            assert told is not row["indistinguishable_from_best"] or row["difference_to_best"] == 0.0
    for row in comparison.pairwise.itertuples():
        assert np.isnan(row.p_value) or row.p_value <= row.p_holm
        across = row.simultaneous_low < 0 < row.simultaneous_high
        assert np.isnan(row.p_holm) or row.difference == 0 or (row.p_holm <= 0.05) is not across

    sentence = leader_sentence(comparison)
    if best:
        others = [row for row in scored if row["loss"] != best]
        equal = sum(row["indistinguishable_from_best"] is not False for row in others)
        counted = re.search(r"(\d+) of the (\d+) other losses can't be told apart", sentence)
        some = 0 < equal < len(others)
        assert (int(counted[1]), int(counted[2])) == (equal, len(others)) if some else counted is None
        all_equal = "none of the other losses can be told" in sentence or "the other loss can't be told" in sentence
        assert all_equal is (0 < equal == len(others))

    if family is None:
        return
    members = {f: [row for row in scored if row["family"] == f] for f in OTHER}
    assert ("losses lead" in family.sentence) is family.decided
    assert ("Neither family leads" in family.sentence) is not family.decided
    for row in losses:
        assert row["mean"] is not None or row["loss"] in family.sentence
    if family.leader:
        champion = {"margin": family.best_margin, "metric": family.best_metric}[family.leader]
        assert f"{family.leader.capitalize()} losses lead" in family.sentence
        assert rows[best]["family"] == family.leader
        for row in members[OTHER[family.leader]]:
            against = pair(comparison.pairwise, champion, row["loss"])
            assert row["indistinguishable_from_best"] is False
            assert sign * against["difference"] > 0
            assert against["p_value"] <= family.p_value <= 0.05
        assert family.best.p_value <= 0.05
    else:
        assert family.unbeaten or rows[best]["family"] not in OTHER
        assert all(name in family.sentence for name in family.unbeaten), "the table's marks stand in the sentence"
