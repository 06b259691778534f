"""Decision rules in words, judged by the numbers."""

from __future__ import annotations

import pandas as pd
import pytest

from mlcompare.comparison import compare, load_per_class, load_results
from mlcompare.report.about import about
from mlcompare.report.formats import span
from mlcompare.report.study import open_study
from mlcompare.report.verdict import judge, leader_sentence
from tests.report.conftest import change_results, change_study

RULE = "The 95 % interval of the paired MAP@R difference between the best of each family excludes zero."


@pytest.mark.parametrize("shift", [0.0, 0.5, -0.5])
def test_an_interval_that_excludes_zero_meets_the_rule(store, shift) -> None:
    change_study(store, decision_rule=RULE)
    (store / "per_class.parquet").unlink()
    change_results(store, lambda f: f.assign(value=0.01 * f["value"] + shift * (f["loss"] == "cosface").astype(float)))
    study = open_study(store)
    verdict, best = judge(study), study.comparison.family.best
    assert verdict.state == ("met" if best.ci_low > 0 or best.ci_high < 0 else "not met")
    assert verdict.state == "met" or not shift
    assert verdict.answer == study.comparison.family.sentence


def test_a_rule_is_judged_on_its_own_metric_and_confidence(store) -> None:
    change_study(store, decision_rule="The 80 % interval of the recall@1 difference of the families excludes 0.")
    study = open_study(store)
    options = {"metric": "recall_at_1", "confidence": 0.8, "objective": "map_at_r"}
    of_rule = compare(load_results(store), load_per_class(store), **options).family.best
    verdict = judge(study)
    assert span(of_rule.ci_low, of_rule.ci_high, sign=True) in verdict.because
    assert "recall_at_1" in verdict.because
    assert verdict.answer == study.comparison.family.sentence, "the answer is about what the ranking shows"
    assert study.comparison.confidence == 0.95


def test_only_a_rule_of_the_study_file_was_asked_beforehand(store) -> None:
    change_study(store, decision_rule=RULE)
    assert "before the run" in judge(open_study(store)).because
    change_study(store, decision_rule="")
    verdict = judge(open_study(store))
    assert "before the run" not in verdict.because
    assert "No rule stood in the study file" in verdict.because
    assert verdict.state == "not met"


def ahead(frame, *, by: float):
    """cosface's final scores, moved ahead in every run."""
    mine = (frame["loss"] == "cosface") & (frame["kind"] == "final")
    return frame.assign(value=frame["value"] + by * mine.astype(float))


def test_mlcompares_own_rule_is_met_where_a_family_leads(store) -> None:
    change_study(store, decision_rule="")
    (store / "per_class.parquet").unlink()
    change_results(store, lambda frame: frame.assign(value=frame["value"].where(frame["kind"] != "final", 0.3)))
    change_results(store, lambda frame: ahead(frame, by=0.4))
    study = open_study(store)
    assert study.comparison.family.leader == "margin"
    assert judge(study).state == "met"


def test_a_rule_met_by_one_pair_says_that_the_answer_asks_for_more(store) -> None:
    """The best of each family differ, but another metric loss is as good as the margin loss."""
    change_study(store, decision_rule=RULE)
    (store / "per_class.parquet").unlink()

    def with_an_equal(frame):
        frame = frame.assign(value=frame["value"].where(frame["kind"] != "final", 0.3))
        equal = ahead(frame, by=0.4)[lambda f: f["loss"] == "cosface"].assign(loss="triplet", family="metric")
        equal["value"] = equal["value"].where(equal["kind"] == "final", 0.0)  # but not on validation
        return pd.concat([ahead(frame, by=0.4), equal])

    change_results(store, with_an_equal)
    study = open_study(store)
    verdict = judge(study)
    assert study.comparison.family.leader is None
    assert verdict.state == "met"
    assert "The answer above asks for more than this rule" in verdict.because
    assert "triplet" in verdict.answer


def test_a_rule_over_several_studies_is_not_met_by_one(store) -> None:
    change_study(store, decision_rule=RULE[:-1] + " and p, Holm-corrected over the nine studies, is below 0.05.")
    assert judge(open_study(store)).state == "not met", "the interval includes zero"
    (store / "per_class.parquet").unlink()
    change_results(store, lambda frame: ahead(frame, by=5.0))
    verdict = judge(open_study(store))
    assert verdict.state == "not judged"
    assert "excludes zero. The rule also asks for a correction" in verdict.because


def test_p_values_are_judged(store) -> None:
    change_study(store, decision_rule="p < 0.9999 for the best of each family")
    study = open_study(store)
    assert judge(study).state == ("met" if study.comparison.family.best.p_value <= 0.9999 else "not met")


def test_rules_it_cannot_judge_are_left_to_the_reader(store) -> None:
    change_study(store, decision_rule="Whatever the committee likes best.")
    verdict = judge(open_study(store))
    assert (verdict.state, verdict.rule) == ("not judged", "Whatever the committee likes best.")


def test_leader_sentence_counts_the_others(store) -> None:
    study = open_study(store)
    assert study.comparison.best in leader_sentence(study.comparison)
    change_results(store, lambda frame: frame[frame["loss"] == "cosface"])
    assert leader_sentence(open_study(store).comparison).endswith("with no other loss to compare.")


@pytest.mark.parametrize(("spread", "said"), [(0.2, True), (0.001, False)])
def test_a_rule_met_within_the_luck_of_the_search_says_so(store, spread, said) -> None:
    """One trial stands out by ``spread`` from the others, and the families by 0.05."""
    change_study(store, decision_rule=RULE)
    (store / "per_class.parquet").unlink()

    def change(frame):
        frame = ahead(frame.assign(value=frame["value"].where(frame["kind"] != "final", 0.3)), by=0.05)
        searched = (frame["kind"] == "trial").to_numpy()
        return frame.assign(value=frame["value"].where(~searched, 0.5 - spread * frame["trial"].astype(float)))

    change_results(store, change)
    study = open_study(store)
    assert judge(study).state == "met"
    assert ("may change it by ±" in judge(study).because) == said
    assert ("another finds others, and a loss may end about ±" in about(study)["can't say"]) is True
