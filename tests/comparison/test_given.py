"""Tables made elsewhere: what may be left out, what is refused, and what an own table must not lose by it."""

import numpy as np
import pandas as pd
import pytest

from mlcompare.comparison import compare, means
from mlcompare.comparison.table import _as_reported
from mlcompare.errors import DataError, UnknownNameError

from .simulate import nested, study


def long_form(rng, losses=("a", "b"), classes=12, folds=4, seeds=2, gap=0.1):
    """A row for each loss, fold, seed and class."""
    rows = []
    for i, loss in enumerate(losses):
        (scores,), labels = nested(rng, 1, classes, folds, seeds, run=0.02, fold_share=0.5)
        rows += [
            (loss, int(fold), r % seeds, "recall_at_1", f"class {c}", 0.5 + i * gap + scores[c, r])
            for r, fold in enumerate(labels) for c in range(classes)
        ]  # fmt: skip
    return pd.DataFrame(rows, columns=["loss", "fold", "seed", "metric", "class", "value"])


def test_loss_run_metric_and_value_are_enough(rng):
    frame = pd.DataFrame({"loss": ["a"] * 4 + ["b"] * 4, "run": [0, 1, 2, 3] * 2, "metric": "auc",
                          "value": [0.8, 0.82, 0.81, 0.8, 0.6, 0.61, 0.62, 0.6]})  # fmt: skip
    found = compare(frame)
    assert (found.best, found.metric, found.unit, found.study) == ("a", "auc", "run", "results")
    by_hand = means([(frame["value"][:4].to_numpy() - frame["value"][4:].to_numpy())[None]], range(4))
    assert found.pairwise["p_value"][0] == pytest.approx(by_hand.p_values()[0])
    assert found.family is None
    assert found.records()[0]["family"] is None
    named = compare(frame.assign(run=["x", "y", "z", "w"] * 2))
    assert named.pairwise["p_value"][0] == pytest.approx(found.pairwise["p_value"][0])


def test_seeds_of_a_fold_are_no_runs_of_their_own(rng):
    frame = long_form(rng).drop(columns="class").groupby(["loss", "fold", "seed", "metric"], as_index=False).mean()
    averaged = frame.groupby(["loss", "fold", "metric"], as_index=False)["value"].mean()
    nested_p, plain_p = (compare(f).pairwise["p_value"][0] for f in (frame, averaged))
    assert nested_p == pytest.approx(plain_p)
    as_runs = frame.assign(run=frame["fold"] * 2 + frame["seed"]).drop(columns=["fold", "seed"])
    assert compare(as_runs).pairwise["runs"][0] == compare(as_runs).pairwise["folds"][0] == 8


def test_scores_by_class_in_the_same_table(rng):
    frame = long_form(rng)
    found = compare(frame)
    assert (found.unit, found.pairwise["classes"][0], found.pairwise["folds"][0]) == ("class", 12, 4)
    assert found.table["mean"].tolist() == pytest.approx(frame.groupby("loss")["value"].mean()[["b", "a"]].tolist())
    runs = frame.groupby(["loss", "fold", "seed", "metric"], as_index=False)["value"].mean()
    apart = compare(runs, frame)
    pd.testing.assert_frame_equal(found.pairwise, apart.pairwise)
    totals = pd.concat([frame, runs.assign(value=runs["value"] + 0.1)], ignore_index=True)
    assert compare(totals).table["mean"].tolist() == pytest.approx([m + 0.1 for m in found.table["mean"]])


def test_families_baselines_and_defaults_of_ones_own(rng):
    frame = long_form(rng, ("triplet", "arcface")).assign(kind="final", source="selected")
    frame["family"] = frame["loss"].map({"triplet": "metric", "arcface": "margin"})
    default = frame.assign(source="default", value=frame["value"] - 0.05)
    pixels = frame[frame.loss == "triplet"].assign(loss="pixels", kind="baseline", family="baseline", value=0.1)
    found = compare(pd.concat([frame, default, pixels]))
    assert found.family.leader == "margin"
    assert found.tunability["gain"].tolist() == pytest.approx([0.05, 0.05])
    assert found.records()[-1]["loss"] == "pixels"


def test_a_failed_run_has_no_value(rng):
    frame = long_form(rng).drop(columns="class").groupby(["loss", "fold", "seed", "metric"], as_index=False).mean()
    frame.loc[(frame.loss == "a") & (frame.fold == 1), "value"] = np.nan
    row = {r["loss"]: r for r in compare(frame).records()}["a"]
    assert (row["runs"], row["failed_runs"]) == (6, 2)
    assert compare(frame).pairwise["folds"][0] == 3


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (lambda f: f.drop(columns="value"), DataError, "columns loss, metric, value"),
        (lambda f: f.rename(columns={"seed": "sed"}), UnknownNameError, "did you mean seed.*drop or rename"),
        (lambda f: f.drop(columns=["fold", "seed"]), DataError, "column `run`"),
        (lambda f: f.assign(kind="finale"), DataError, "trial, final or baseline.*did you mean final"),
        (lambda f: pd.concat([f, f]), DataError, "has one row.*`run` or `seed`"),
        (lambda f: f.iloc[:0], DataError, "must have rows"),
        (lambda f: f.assign(value="high"), DataError, "numbers"),
    ],
)
def test_what_is_refused_comes_with_its_cure(rng, change, error, told):
    with pytest.raises(error, match=told):
        compare(change(long_form(rng)))


def test_a_stores_own_tables_may_have_more_columns():
    results, per_class = study()
    more = compare(results.assign(step=100, note="x"), per_class.assign(samples=5))
    pd.testing.assert_frame_equal(more.table, compare(results, per_class).table)


def sized(rng, sizes):
    """Scores of two losses by class, and the metric as the mean over samples of classes of these sizes."""
    frame = long_form(rng, classes=len(sizes))
    frame["samples"] = frame["class"].map({f"class {c}": size for c, size in enumerate(sizes)})
    frame["weighted"] = frame["value"] * frame["samples"] / sum(sizes)
    runs = frame.groupby(["loss", "fold", "seed", "metric"], as_index=False)["weighted"].sum()
    return runs.rename(columns={"weighted": "value"}), frame.drop(columns="weighted")


def test_classes_weigh_as_they_do_in_the_metric(rng):
    sizes = [1, 1, 2, 2, 3, 3, 4, 5, 8, 10, 30, 60]
    runs, by_class = sized(rng, sizes)
    found, blind = compare(runs, by_class), compare(runs, by_class.drop(columns="samples"))
    assert found.table["mean"].tolist() == pytest.approx(runs.groupby("loss")["value"].mean()[["b", "a"]].tolist())
    assert not any("samples" in note for note in found.notes)
    assert any("column `samples`" in note for note in blind.notes)
    weights = np.array(sizes) / sum(sizes)
    wide = by_class.assign(cell=by_class["fold"]).pivot_table(index="class", columns=["loss", "cell"], values="value")
    wide = wide.loc[[f"class {c}" for c in range(12)]]
    difference = (wide["a"] - wide["b"]).to_numpy()  # (C, F)
    pair = found.pairwise.iloc[0]
    assert pair["difference"] == pytest.approx(weights @ difference.mean(axis=1))
    stretched = weights @ difference + np.sqrt(12 * weights @ weights) * (difference - difference.mean(axis=0))
    assert pair["p_value"] == pytest.approx(means([stretched], range(4)).p_values()[0])


def test_unequal_classes_are_covered():
    """One class holds half of all samples: weighing classes alike would cover too rarely."""
    rng, sizes, repetitions = np.random.default_rng(3), np.array([40, *[4] * 10]), 800
    scores, folds = nested(rng, repetitions, 11, 4, 1, run=0.01, fold_share=0.5, of_class=0.2)
    metric = np.einsum("c,ncr->nr", sizes / sizes.sum(), scores)
    for known, least, most in ((sizes, 0.92, 0.98), (None, 0.5, 0.9)):
        values, uneven = _as_reported(scores, metric, known)
        assert uneven is (known is None)
        np.testing.assert_allclose(values.mean(axis=1), metric)
        low, high = means(list(values), folds).intervals()
        assert least < ((low <= 0) & (high >= 0)).mean() < most


def test_without_classes_these_are_all_there_are(rng):
    """A loss that gains on some classes and loses on others: on these it is better, on others it may not be."""
    by_class = np.array([0.12, -0.06, 0.1, -0.04, 0.08, -0.05, 0.09, 0.05, -0.06, 0.04])  # .027 in the mean
    rows = [
        (loss, fold, seed, "accuracy", f"class {c}", 0.6 + better * by_class[c] + rng.normal(0, 0.004))
        for loss, better in (("a", 0), ("b", 1)) for fold in range(5) for seed in range(2) for c in range(10)
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["loss", "fold", "seed", "metric", "class", "value"])
    drawn = compare(frame).pairwise.iloc[0]
    given = compare(frame.groupby(["loss", "fold", "seed", "metric"], as_index=False)["value"].mean()).pairwise.iloc[0]
    assert drawn.difference == pytest.approx(given.difference)
    assert drawn.ci_low < 0 < drawn.ci_high
    assert 0 < abs(given.ci_high - given.ci_low) < 0.02
    assert min(abs(given.ci_low), abs(given.ci_high)) < 0.027 < max(abs(given.ci_low), abs(given.ci_high))


def test_large_tables_are_compared_by_class(rng):
    losses, classes = [f"loss{i}" for i in range(12)], 10_000
    names = ["loss", "fold", "seed", "class"]
    keys = pd.MultiIndex.from_product([losses, range(4), range(2), range(classes)], names=names)
    frame = keys.to_frame(index=False).assign(metric="map_at_r", value=rng.random(len(keys)))
    found = compare(frame)
    assert (found.unit, len(found.pairwise)) == ("class", 66)


@pytest.mark.parametrize("given", [[("a", 1, "m", 0.5)], {"a": [1.0]}, None, 3])
def test_what_is_neither_store_nor_table_is_told(given):
    with pytest.raises(DataError, match=r"results are a store or a table, got \w+; give a store's folder, or pandas"):
        compare(given)
