import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from mlcompare.comparison import Scores, compare, load_per_class, load_results, pairwise, runs_to_separate, score_array
from mlcompare.comparison.notes import notes_of
from mlcompare.comparison.pairwise import indistinguishable, pairs_of
from mlcompare.comparison.tunability import tunability
from mlcompare.errors import DataError, InvalidValueError, StoreError, UnknownNameError

from .simulate import nested, nested_study, row, study

FIELDS = {"loss", "family", "metric", "mean", "ci_low", "ci_high", "default_mean", "difference_to_best", "p_value"}
FIELDS |= {"indistinguishable_from_best", "hyperparameters", "at_bound", "trials", "seconds"}
SPACE = {"margin": {"low": 0.0, "high": 0.5}, "scale": {"low": 4.0, "high": 64.0, "log": True}}


def records(*arguments, **options):
    comparison = compare(*arguments, **options)
    return comparison, {record["loss"]: record for record in comparison.records()}


def test_table_of_a_clear_study():
    results, per_class = study()
    comparison, table = records(results, per_class, spaces={"cosface": SPACE})
    assert [r["loss"] for r in comparison.records()] == ["arcface", "cosface", "triplet", "contrastive", "pixels"]
    assert all(set(record) >= FIELDS for record in table.values())
    final = results[(results.loss == "triplet") & (results.kind == "final")].groupby("source")["value"].mean()
    row = table["triplet"]
    assert row["mean"] == pytest.approx(final["selected"])
    assert row["default_mean"] == pytest.approx(final["default"])
    assert row["ci_low"] < row["mean"] < row["ci_high"]
    assert row["difference_to_best"] == pytest.approx(row["mean"] - table["arcface"]["mean"])
    assert row["difference_low"] < row["difference_to_best"] < row["difference_high"] < 0
    assert row["p_value"] < 0.05
    assert not row["indistinguishable_from_best"]
    assert (row["trials"], row["failed_trials"], row["runs"]) == (6, 0, 8)
    assert row["seconds"] == 2.0 * (6 * 4 + 2 * 8)
    assert table["cosface"]["hyperparameters"] == {"margin": 0.499, "scale": 16.0}
    assert table["cosface"]["at_bound"] == ["margin"]
    assert table["cosface"]["suggested_ranges"] == {"margin": {"low": 0.0, "high": 1.0, "log": False}}
    assert table["triplet"]["at_bound"] == []
    json.dumps(comparison.records(), allow_nan=False)


def test_the_best_has_no_p_value_and_a_baseline_no_setting():
    comparison, table = records(*study())
    best, baseline = table[comparison.best], table["pixels"]
    assert comparison.best == "arcface"
    assert best["p_value"] is None
    assert best["difference_to_best"] == 0.0
    assert best["indistinguishable_from_best"] is True
    assert baseline["family"] == "baseline"
    assert baseline["default_mean"] is baseline["hyperparameters"] is baseline["trials"] is None
    assert baseline["p_value"] < 0.05
    assert baseline["ci_low"] < baseline["mean"] < baseline["ci_high"]


def test_a_baseline_is_never_the_best():
    results, per_class = study(means={"triplet": 0.1, "contrastive": 0.1, "cosface": 0.1, "arcface": 0.12})
    comparison, table = records(results, per_class)
    assert comparison.records()[0]["loss"] == "pixels"
    assert comparison.best == "arcface"
    assert table["pixels"]["difference_to_best"] > 0


@pytest.mark.parametrize(("run", "share"), [(0.0, 0.0), (0.02, 0.0), (0.03, 0.7), (0.1, 1.0)])
def test_equal_losses_are_rarely_told_apart(run, share):
    """The family-wise rate: in how many studies of five equal losses is any loss set apart from the best?"""
    rng, flagged, studies, names = np.random.default_rng(2), 0, 300, tuple("abcde")
    for _ in range(studies):
        difficulty = 0.1 * rng.normal(size=(20, 1))
        values, folds = nested(rng, len(names), 20, 4, 2, run=run, fold_share=share)
        runs = tuple((int(fold), i % 2) for i, fold in enumerate(folds))
        scores = Scores(names, tuple(range(20)), runs, difficulty + values, "class")
        best = names[int(values.mean(axis=(1, 2)).argmax())]
        flagged += len(indistinguishable(pairwise(scores, pairs_of(names)), best, names, 0.05)) < len(names)
    assert flagged <= binom.ppf(0.999, studies, 0.05)


def test_without_class_scores_folds_are_the_unit_and_it_says_so():
    comparison, table = records(study(folds=8)[0])
    assert comparison.unit == "run"
    assert "count folds and seeds" in comparison.notes[0]
    assert table["triplet"]["p_value"] < 0.05
    assert compare(*study()).unit == "class"
    results, per_class = study()
    assert compare(results, per_class.assign(metric="mrr")).unit == "run"


@pytest.mark.parametrize(
    ("design", "told"),
    [
        ({"folds": 1, "seeds": 1}, "One final run of each loss"),
        ({"folds": 1, "seeds": 3}, "seeds stand in for folds"),
        ({"folds": 2}, "Two folds"),
        ({"folds": 3}, None),
        ({"classes": 6}, "6 test classes are few"),
    ],
)
def test_designs_that_say_little_are_named(design, told):
    notes = compare(*study(**design)).notes
    assert notes == () if told is None else any(told in note for note in notes)


def test_one_run_without_classes_is_shown_but_not_tested():
    comparison, table = records(study(folds=1, seeds=1)[0])
    assert table["arcface"]["ci_low"] is None
    assert table["triplet"]["p_value"] is None
    assert table["triplet"]["difference_to_best"] < 0
    assert all(row["indistinguishable_from_best"] for row in comparison.records())
    assert comparison.family.leader is None
    assert "too few runs" in comparison.family.sentence


def test_many_losses_can_still_be_told_apart():
    families = {f"loss{number}": "metric" for number in range(24)}
    means = {name: 0.9 - 0.02 * number for number, name in enumerate(families)}
    comparison = compare(*study(means=means, families=families, classes=30, trials=1, noise=0.002))
    assert len(comparison.pairwise) == 24 * 23 // 2 + 24
    assert comparison.table["indistinguishable_from_best"].sum() < 5


def test_what_would_separate_two_losses_counts_the_correction():
    close = {"triplet": 0.5, "contrastive": 0.4, "cosface": 0.70, "arcface": 0.705}
    results, by_class = study(means=close, noise=0.05)
    two = compare(results[results["loss"].isin(["cosface", "arcface", "pixels"])], by_class).separation
    four = compare(results, by_class).separation
    (name,) = two
    scores = score_array(results, by_class, "map_at_r", source="selected")
    differences = scores.of("arcface") - scores.of("cosface")
    assert two[name] == runs_to_separate(differences, scores.folds, level=0.05)
    assert four[name] == runs_to_separate(differences, scores.folds, level=0.05 / 6)


def test_a_loss_that_failed_everywhere_stays_in_the_table():
    results, per_class = study()
    lost = (results.loss == "cosface") & (results.kind == "final")
    results.loc[lost, ["value", "status", "reason"]] = np.nan, "failed", "loss is NaN at step 3"
    per_class = per_class[per_class.loss != "cosface"]
    comparison, table = records(results, per_class)
    assert comparison.records()[-1]["loss"] == "cosface"
    assert table["cosface"]["mean"] is None
    assert table["cosface"]["reason"] == "loss is NaN at step 3"
    assert table["cosface"]["indistinguishable_from_best"] is None
    assert table["cosface"]["failed_runs"] == 8
    json.dumps(comparison.records(), allow_nan=False)


def test_missing_runs_are_left_out_of_both_sides():
    results, per_class = study()
    lost = (results.loss == "cosface") & (results.source == "selected") & (results.fold == 0)
    results.loc[lost & (results.kind == "final"), ["value", "status", "reason"]] = np.nan, "failed", "diverged"
    per_class = per_class[~((per_class.loss == "cosface") & (per_class.source == "selected") & (per_class.fold == 0))]
    comparison, table = records(results, per_class)
    final = results[(results.kind == "final") & (results.source == "selected") & (results.fold != 0)]
    means = final.groupby("loss")["value"].mean()
    assert table["cosface"]["difference_to_best"] == pytest.approx(means["cosface"] - means["arcface"])
    assert table["cosface"]["reason"] == "2 of 8 final runs failed: diverged"
    assert any("cosface" in note for note in comparison.notes)


def test_a_loss_that_mostly_failed_is_not_the_best():
    results, per_class = study()
    lost = (results.loss == "arcface") & (results.kind == "final") & (results.fold < 3)
    results.loc[lost, ["value", "status"]] = np.nan, "failed"
    assert compare(results, per_class).best == "cosface"


def test_all_failed():
    results, _ = study()
    results.loc[results.kind == "final", ["value", "status", "reason"]] = np.nan, "failed", "out of memory"
    comparison, table = records(results[results.kind != "baseline"])
    assert comparison.best is None
    assert comparison.family is None
    assert all(r["mean"] is None and r["reason"] == "out of memory" for r in table.values())


def test_smaller_is_better_for_the_error_rate():
    results, per_class = study()
    flipped = results.assign(metric="eer", value=1 - results.value)
    comparison, table = records(flipped, per_class.assign(metric="eer", value=1 - per_class.value))
    assert comparison.best == "arcface"
    assert table["triplet"]["difference_to_best"] > 0
    assert comparison.family.best_margin == "arcface"
    assert "Margin losses lead: arcface, the best margin loss on validation" in comparison.family.sentence
    assert comparison.family.chosen_on == "validation"


def test_classes_of_different_sizes_keep_the_mean_of_the_results():
    results, per_class = study()
    results["value"] = results["value"] + 0.05  # as if large classes scored better
    _, table = records(results, per_class)
    row = table["cosface"]
    assert row["ci_low"] < row["mean"] < row["ci_high"]
    assert row["difference_to_best"] == pytest.approx(row["mean"] - table["arcface"]["mean"])


def test_an_interval_ends_where_the_metric_does():
    results, per_class = study()
    _, table = records(results.assign(value=0.999), per_class)  # as if all but a few small classes were perfect
    assert table["triplet"]["ci_low"] < 0.999 < table["triplet"]["ci_high"] == 1.0
    _, table = records(results.assign(value=0.001), per_class)
    assert table["triplet"]["ci_low"] == 0.0 < 0.001 < table["triplet"]["ci_high"]
    _, table = records(results.assign(value=0.001, metric="ari"), per_class.assign(metric="ari"))
    assert table["triplet"]["ci_low"] < 0.0
    _, table = records(results.assign(value=50.0), per_class)  # percentages
    assert table["triplet"]["ci_low"] < 50.0 < table["triplet"]["ci_high"]


def test_row_order_does_not_matter():
    results, per_class = study()
    first = compare(results, per_class)
    shuffled = compare(results.sample(frac=1.0, random_state=0), per_class.sample(frac=1.0, random_state=0))
    assert shuffled.best == first.best
    means = {r["loss"]: r["mean"] for r in first.records()}
    assert {r["loss"]: r["mean"] for r in shuffled.records()} == pytest.approx(means)


def test_other_metrics():
    results, per_class = study()
    both = pd.concat([results, results.assign(metric="recall_at_1", value=results.value + 0.1)])
    assert compare(both, per_class).metric == "map_at_r"
    assert compare(both, per_class, metric="recall_at_1").unit == "run"
    with pytest.raises(UnknownNameError, match="did you mean recall_at_1"):
        compare(both, metric="recall_at_2")


def test_faults(tmp_path):
    results, _ = study()
    with pytest.raises(DataError, match="rows"):
        compare(results.iloc[:0])
    with pytest.raises(DataError, match="columns"):
        compare(results.drop(columns="value"))
    with pytest.raises(DataError, match="one study"):
        compare(pd.concat([results, results.assign(study="other")]))
    with pytest.raises(InvalidValueError):
        compare(results, confidence=95)
    with pytest.raises(DataError, match="every run failed"):
        compare(results.assign(metric=None))
    with pytest.raises(StoreError, match="check the path"):
        load_results(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="run the study first"):
        load_results(tmp_path)
    (tmp_path / "results.parquet").write_bytes(b"PAR1 broken")
    with pytest.raises(StoreError, match="readable parquet"):
        load_results(tmp_path)


def test_stores_round_trip(tmp_path):
    results, per_class = study()
    assert load_per_class(tmp_path) is None
    results.to_parquet(tmp_path / "results.parquet")
    per_class.to_parquet(tmp_path / "per_class.parquet")
    stored = compare(load_results(tmp_path), load_per_class(tmp_path))
    pd.testing.assert_frame_equal(stored.table, compare(results, per_class).table)


def test_one_loss_alone():
    comparison, table = records(*study(families={"triplet": "metric"}, means={"triplet": 0.5}))
    assert comparison.best == "triplet"
    assert table["triplet"]["ci_low"] < table["triplet"]["mean"]
    assert row("a", "metric", "final", "selected", None, 0, 0, "test", 0.5, None)["hyperparameters"] is None


def test_imports_nothing_heavy():
    code = "import sys, mlcompare.comparison; print(*{'torch', 'optuna', 'mlflow', 'matplotlib'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""


def as_stored(frame):
    """The nullable column types that a study writes."""
    whole = {name: "Int64" for name in ("trial", "fold", "seed", "peak_memory") if name in frame}
    text = {name: "string" for name in frame if name not in whole and name not in ("value", "seconds")}
    return frame.astype({**whole, **text})


def test_nullable_columns_change_nothing():
    results, per_class = study()
    stored = compare(as_stored(results), as_stored(per_class))
    plain = compare(results, per_class)
    for name in ("loss", "at_bound", "trials", "runs", "seconds"):
        assert stored.table[name].tolist() == plain.table[name].tolist()
    for name in ("mean", "default_mean", "difference_to_best"):  # classes are ordered otherwise, "10" before "2"
        assert stored.table[name].dropna().tolist() == pytest.approx(plain.table[name].dropna().tolist())
    assert stored.unit == "class"
    json.dumps(stored.records(), allow_nan=False)


def test_a_baseline_of_one_seed_stands_beside_every_seed_of_its_fold():
    results, _ = study()
    pca = [row("pca", "baseline", "baseline", None, None, fold, 0, "test", 0.3 + fold / 100, None) for fold in range(4)]
    results = pd.concat([results, pd.DataFrame(pca)], ignore_index=True)
    scores = score_array(results, None, "map_at_r", source="selected")
    assert scores.of("pca")[0].tolist() == pytest.approx([0.3, 0.3, 0.31, 0.31, 0.32, 0.32, 0.33, 0.33])
    assert len(set(scores.of("pixels")[0])) == 1


def test_a_selected_default_counts_its_seconds_once():
    results, per_class = study()
    results.loc[results.kind == "final", "trial"] = 0
    _, table = records(results, per_class)
    assert table["triplet"]["seconds"] == 2.0 * (6 * 4 + 8)
    assert compare(results, per_class.iloc[:0]).unit == "run"


def test_defaults_that_failed_in_a_fold_are_compared_on_the_others():
    results, per_class = study()
    results = results[~((results.kind == "final") & (results.source == "default") & (results.fold == 3))]
    per_class = per_class[~((per_class.source == "default") & (per_class.fold == 3))]
    assert compare(results, per_class).tunability["gain"].between(0.03, 0.07).all()


def test_baselines_do_not_blur_the_comparison_of_losses():
    results, per_class = study(noise=0.05)
    more = [
        frame[frame["loss"] == "pixels"].assign(loss=f"pixels {i}") for i in range(5) for frame in (results, per_class)
    ]
    many = compare(pd.concat([results, *more[::2]]), pd.concat([per_class, *more[1::2]]))
    few = compare(results, per_class)
    pd.testing.assert_frame_equal(few.pairwise[:6], many.pairwise[:6])
    assert many.pairwise["p_holm"][6:].min() > few.pairwise["p_holm"][6:].min()


def test_a_difference_of_shares_ends_at_one(rng):
    """Two folds make intervals longer than a share can be; of percentages, whose limits aren't known, they stay."""
    a, b = rng.uniform(0.6, 0.9, (3, 2)), rng.uniform(0.1, 0.4, (3, 2)) + np.array([0.0, 0.3])
    for factor in (1, 100):
        values = factor * np.array([a, b])
        scores = Scores(("a", "b"), (0, 1, 2), ((0, 0), (1, 0)), values, "class", limits=(0.0, 1.0))
        (row,) = pairwise(scores, [("a", "b")]).to_dict("records")
        gain = tunability(scores, replace(scores, values=values[::-1]), ["a"]).to_dict("records")[0]
        for found in (row, gain):
            high = found["simultaneous_high"]
            assert high == 1 if factor == 1 else high > 100


@pytest.mark.parametrize(("parts", "told"), [(2, True), (3, False)])
def test_two_outer_folds_are_told(rng, parts, told):
    values = np.stack([nested_study(rng, 1, 24, parts, 3, 1, run=0.02, fold_share=0.5)[0][0] for _ in range(2)])
    runs = tuple((fold, 0) for fold in range(3 * parts))
    scores = Scores(("a", "b"), tuple(range(24)), runs, values, "class")
    assert any("Two outer folds" in note for note in notes_of([], scores, True)) == told
