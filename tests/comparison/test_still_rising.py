"""Who was still rising when training stopped: calibrated on flat curves, and found on rising ones."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from mlcompare.comparison import compare, learning_curves, still_rising
from mlcompare.comparison.still_rising import rising_sentence
from mlcompare.report.tables import ranking_json, ranking_table
from tests.comparison.simulate import study

STEPS = (20, 40, 60, 80, 100)
SETTLED = (0.40, 0.52, 0.56, 0.57, 0.57)


def curve_rows(loss: str, means, rng=None, *, folds=4, seeds=2, noise=0.0, metric="map_at_r", source="selected"):
    """Rows of a loss's curves: each fold has a level of its own, and noise at each point that its seeds share."""
    rows = []
    for fold in range(folds):
        level = 0.05 * (rng.normal() if rng else fold)
        shared = noise * rng.normal(size=len(means)) if rng else np.zeros(len(means))
        for seed in range(seeds):
            own = noise * rng.normal(size=len(means)) if rng else np.zeros(len(means))
            rows += [
                {"study": "simulated", "loss": loss, "family": "metric", "kind": "curve", "source": source, "trial": 3,
                 "fold": fold, "seed": seed, "step": step, "split": "validation", "metric": metric,
                 "value": float(value), "status": "ok"}
                for step, value in zip(STEPS, np.asarray(means) + level + shared + own)
            ]  # fmt: skip
    return rows


def alarms(means, *, folds, seeds=2, noise=0.01, repeats=400) -> float:
    rng = np.random.default_rng([folds, seeds])
    found = 0
    for _ in range(repeats):
        frame = pd.DataFrame(curve_rows("x", means, rng, folds=folds, seeds=seeds, noise=noise))
        found += bool(learning_curves(frame)["x"].still_rising)
    return found / repeats


@pytest.mark.parametrize("folds", [2, 4])
@pytest.mark.parametrize("seeds", [1, 3])
def test_flat_noisy_curves_are_rarely_called_rising(folds: int, seeds: int) -> None:
    assert alarms(SETTLED, folds=folds, seeds=seeds) <= 0.08, "5 % and what 400 repeats leave open"


def test_the_level_holds_whatever_the_noise() -> None:
    rng = np.random.default_rng(0)
    for folds in (2, 3, 4, 5, 10):
        for noise in (0.005, 0.05):
            gains = noise * rng.normal(size=(5000, folds))
            share = np.mean([still_rising(row) for row in gains])
            assert share <= 0.058, (folds, noise, share)


def test_rising_curves_are_found() -> None:
    rising = (0.3, 0.4, 0.47, 0.52, 0.56)
    assert alarms(rising, folds=4, seeds=2, repeats=200) > 0.9
    assert alarms(rising, folds=2, seeds=2, noise=0.002, repeats=200) > 0.95
    falling = rising[::-1]
    assert alarms(falling, folds=4, repeats=100) == 0


def test_gains_too_small_to_matter_dont_count() -> None:
    exact = [*curve_rows("slow", (0.1, 0.5, 0.56, 0.57, 0.5715)), *curve_rows("fast", (0.1, 0.5, 0.56, 0.57, 0.573))]
    curves = learning_curves(pd.DataFrame(exact))
    assert (curves["slow"].still_rising, curves["fast"].still_rising) == (False, True)


def test_smaller_is_better_where_the_metric_says_so() -> None:
    falling = pd.DataFrame(curve_rows("x", (0.4, 0.3, 0.2, 0.15, 0.1), metric="eer"))
    found = learning_curves(falling)["x"]
    assert found.still_rising
    assert found.gain == pytest.approx(0.05)


def test_a_curve_is_the_mean_over_folds_and_seeds_of_the_selected_setting() -> None:
    rows = [*curve_rows("x", SETTLED), *curve_rows("x", (0, 0, 0, 0, 1), source="default")]
    rows += [{**row, "seed": None, "value": 0.0} for row in curve_rows("x", SETTLED, source="sampled")]  # a trial's
    found = learning_curves(pd.DataFrame(rows))["x"]
    assert found.step == STEPS
    assert found.value == pytest.approx(np.asarray(SETTLED) + 0.05 * 1.5)
    assert found.folds == 4
    assert found.still_rising is False


def test_one_fold_or_one_point_can_t_tell() -> None:
    one_fold = learning_curves(pd.DataFrame(curve_rows("x", SETTLED, folds=1)))["x"]
    assert one_fold.still_rising is None
    one_point = pd.DataFrame(curve_rows("x", SETTLED)).query("step == 100")
    assert learning_curves(one_point)["x"].still_rising is None


def test_ranking_marks_who_was_still_rising() -> None:
    results, by_class = study()
    plain = compare(results, by_class)
    assert {r["still_rising"] for r in plain.records()} == {None}
    rng = np.random.default_rng(0)
    rows = [*curve_rows("triplet", SETTLED, rng, noise=0.002), *curve_rows("arcface", (0.3, 0.4, 0.5, 0.6, 0.7))]
    found = compare(pd.concat([results, pd.DataFrame(rows)], ignore_index=True), by_class)
    records = {r["loss"]: r for r in json.loads(ranking_json(found))}
    assert records["arcface"]["still_rising"] is True
    assert records["triplet"]["still_rising"] is False
    assert records["triplet"]["curve"]["step"] == list(STEPS)
    assert records["cosface"]["curve"] is None
    assert [r["mean"] for r in found.records()] == [r["mean"] for r in plain.records()], "curves are no scores"
    marks, names = (map(str, column.cells) for column in ranking_table(found).columns[:2])
    assert [name for mark, name in zip(marks, names) if "↗" in mark] == ["arcface"]
    assert any("arcface was still rising when training stopped" in note for note in found.notes)


def test_the_verdict_says_whose_training_it_rests_on() -> None:
    rows = [*curve_rows("a", (0.3, 0.4, 0.5, 0.6, 0.7)), *curve_rows("b", (0.3, 0.4, 0.5, 0.6, 0.7))]
    curves = learning_curves(pd.DataFrame(rows))
    assert rising_sentence(curves, "c") == (
        "a, b were still rising when training stopped: the conclusion rests on losses that weren't done, and more "
        "steps may change it."
    )
    alone = {"a": curves["a"]}
    assert rising_sentence(alone, "a") == "a was still rising when training stopped: more steps may bring more."
    assert rising_sentence({}) is None
