"""Decision rules in words, judged by the numbers."""

from __future__ import annotations

import pytest

from mlcompare.comparison import compare, load_per_class, load_results
from mlcompare.report.sources import open_study
from mlcompare.report.verdict import judge, leader_sentence
from tests.report.conftest import change_results, change_study

RULE = "The 95 % interval of the paired MAP@R difference between the best of each family excludes zero."


@pytest.mark.parametrize("shift", [0.0, 0.5, -0.5])
def test_an_interval_that_excludes_zero_meets_the_rule(store, shift) -> None:
    change_study(store, decision_rule=RULE)
    (store / "per_class.parquet").unlink()
    change_results(store, lambda f: f.assign(value=f["value"] + shift * (f["loss"] == "cosface").astype(float)))
    study = open_study(store)
    verdict, best = judge(study), study.comparison.family.best
    assert verdict.state == ("met" if best.ci_low > 0 or best.ci_high < 0 else "not met")
    assert verdict.state == "met" or not shift
    assert verdict.answer == study.comparison.family.sentence


def test_another_confidence_and_metric_are_computed(store) -> None:
    change_study(store, decision_rule="The 80 % interval of the recall@1 difference of the families excludes 0.")
    study = open_study(store)
    expected = compare(load_results(store), load_per_class(store), metric="recall_at_1", confidence=0.8)
    assert judge(study).answer == expected.family.sentence
    assert study.comparison.confidence == 0.95  # the tables stay as `results` prints them


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
