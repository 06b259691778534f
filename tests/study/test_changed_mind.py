"""What may change when a store is there: words at any time, ranges and counts with --extend; all of it is said."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from pandas.testing import assert_frame_equal
from rich.console import Console

from mlcompare import compare, load_results, run_study
from mlcompare.errors import StoreError
from mlcompare.report.study import open_study
from mlcompare.report.verdict import ASKED_BEFOREHAND, judge
from mlcompare.tracking import local_uri

RULE = "The 95 % interval of the paired MAP@R difference between the best of each family excludes zero."
ANEW = RULE.replace("95", "50")


def edits(store: Path) -> list[dict]:
    return json.loads((store / "study.json").read_text(encoding="utf-8")).get("edits", [])


def run(study: dict, store: Path, **options) -> None:
    run_study(study, store, executor="in-process", **options)


def test_words_need_no_new_store_and_train_nothing(tiny: dict, tmp_path: Path) -> None:
    run({**tiny, "question": "Which?", "decision_rule": RULE}, tmp_path)
    before = load_results(tmp_path)
    outcome = run_study({**tiny, "question": "Who?", "decision_rule": ANEW}, tmp_path, executor="in-process")
    assert outcome.trained == 0
    assert_frame_equal(load_results(tmp_path), before)
    found = {edit["key"]: (edit["old"], edit["new"], edit["sealed_results"]) for edit in edits(tmp_path)}
    finals = len(before[before["kind"] == "final"].drop_duplicates(["loss", "trial", "fold", "seed"]))
    assert found == {"question": ("Which?", "Who?", finals), "decision_rule": (RULE, ANEW, finals)}
    run({**tiny, "question": "Who?", "decision_rule": ANEW}, tmp_path)
    assert len(edits(tmp_path)) == 2, "the same words again are no change"


def test_a_rule_that_came_after_the_results_was_not_asked_beforehand(tiny: dict, tmp_path: Path) -> None:
    run({**tiny, "decision_rule": RULE}, tmp_path)
    assert judge(open_study(tmp_path)).because.endswith(ASKED_BEFOREHAND)
    run({**tiny, "decision_rule": ANEW}, tmp_path)
    because = judge(open_study(tmp_path)).because
    assert ASKED_BEFOREHAND not in because
    assert "worded anew when 8 of the sealed results were known" in because
    assert RULE in because
    notes = compare(tmp_path).notes
    assert [note for note in notes if "when 8 sealed results were known: decision_rule." in note]


def test_a_rule_that_was_added_later_is_told_as_such(tiny: dict, tmp_path: Path) -> None:
    run(tiny, tmp_path)
    run({**tiny, "decision_rule": RULE}, tmp_path)
    assert "The rule was written when 8 of the sealed results were known" in judge(open_study(tmp_path)).because


def test_a_wider_range_extends_a_study_and_keeps_what_is_done(tiny: dict, tmp_path: Path) -> None:
    space = {"lr": {"low": 1e-3, "high": 1e-2, "log": True}}
    narrow = {
        **tiny,
        "losses": {"cosface": {"margin": {"low": 0.2, "high": 0.4}}},
        "search": {"trials": 4, "space": space},
    }
    wide = json.loads(json.dumps(narrow))
    wide["losses"]["cosface"]["margin"] = {"low": 0.0, "high": 0.8}
    wide["search"] = {"trials": 8, "space": {"lr": {"low": 1e-4, "high": 1e-1, "log": True}}}
    run(narrow, tmp_path)
    before = load_results(tmp_path).query("kind == 'trial'")
    with pytest.raises(StoreError, match="--extend"):
        run(wide, tmp_path)
    run(wide, tmp_path, extend=True)
    after = load_results(tmp_path).query("kind == 'trial'")
    assert set(after["trial"]) == set(range(8))
    assert_frame_equal(
        after[after["trial"] < 4].reset_index(drop=True), before.reset_index(drop=True), check_dtype=False
    )
    assert [note for note in compare(tmp_path).notes if "search.trials (4 → 8)" in note]
    with pytest.raises(StoreError, match="another --store"):
        run(narrow, tmp_path, extend=True)


def test_what_decides_the_numbers_stays(tiny: dict, tmp_path: Path) -> None:
    run(tiny, tmp_path)
    for change in ({"protocol": {**tiny["protocol"], "seed": 3}}, {"training": {**tiny["training"], "steps": 5}}):
        with pytest.raises(StoreError, match="another --store"):
            run({**tiny, **change}, tmp_path, extend=True)
    assert edits(tmp_path) == []


def test_a_study_may_be_renamed_and_goes_on_as_it_would_have(tiny: dict, tmp_path: Path) -> None:
    more = {**tiny, "search": {**tiny["search"], "trials": 4}}
    run(tiny, tmp_path / "renamed")
    outcome = run_study({**tiny, "name": "better"}, tmp_path / "renamed", executor="in-process")
    assert outcome.trained == 0
    assert set(load_results(tmp_path / "renamed")["study"]) == {"better"}
    client = MlflowClient(tracking_uri=local_uri(tmp_path / "renamed"))
    assert {found.name for found in client.search_experiments()} == {"Default", "better"}
    assert client.get_experiment_by_name("better").experiment_id == "1", "printed links still lead there"
    run({**more, "name": "better"}, tmp_path / "renamed", extend=True)
    run(more, tmp_path / "plain")
    columns = ["loss", "trial", "fold", "seed", "metric", "value", "hyperparameters"]
    assert_frame_equal(load_results(tmp_path / "renamed")[columns], load_results(tmp_path / "plain")[columns])
    assert not [note for note in compare(tmp_path / "renamed").notes if "name" in note.split(": ")[-1]]


def test_metrics_are_added_and_what_was_measured_stays(tiny: dict, tmp_path: Path) -> None:
    run(tiny, tmp_path)
    before = load_results(tmp_path)
    added = {**tiny, "final": {**tiny["final"], "metrics": ["mrr", "nmi"]}}
    with pytest.raises(StoreError, match="add --extend to allow it"):
        run(added, tmp_path)
    told = io.StringIO()
    run(added, tmp_path, extend=True, console=Console(file=told, width=80))
    assert "added metrics (mrr, nmi): final trainings and baselines are run again to measure them" in told.getvalue()
    after = load_results(tmp_path)
    keys = ["loss", "kind", "trial", "fold", "seed", "metric", "step"]
    both = before.merge(after, on=keys, suffixes=("", "_after"))
    assert len(both) == len(before)
    assert (both["value"] == both["value_after"]).all()
    finals = before[before["kind"] == "final"].drop_duplicates(["loss", "trial", "fold", "seed"])
    new = after[after["metric"].isin(["mrr", "nmi"])]
    assert len(new[new["kind"] == "final"]) == 2 * len(finals)
    assert "raw_pixels" in set(new["loss"])
    runs = MlflowClient(tracking_uri=local_uri(tmp_path)).search_runs(["1"], "tags.kind = 'final'")
    assert runs
    assert all({"test_mrr", "test_nmi"} <= set(found.data.metrics) for found in runs)
    assert run_study(added, tmp_path, executor="in-process").trained == 0
    with pytest.raises(StoreError, match="another --store"):
        run(tiny, tmp_path, extend=True)
