"""Who was past its best when training stopped: calibrated on flat and rising curves, and found on falling ones."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from mlcompare.comparison import compare, decline, learning_curves, next_steps
from mlcompare.comparison.still_rising import LEVEL, TOLERANCE
from mlcompare.report.tables import ranking_json
from tests.comparison.simulate import study
from tests.comparison.test_still_rising import SETTLED, STEPS, curve_rows

PEAK = (0.40, 0.52, 0.60, 0.57, 0.55)


def alarms(means, *, folds, seeds=2, noise=0.01, repeats=400) -> float:
    rng = np.random.default_rng([folds, seeds])
    found = 0
    for _ in range(repeats):
        frame = pd.DataFrame(curve_rows("x", means, rng, folds=folds, seeds=seeds, noise=noise))
        found += learning_curves(frame)["x"].past_best is not None
    return found / repeats


@pytest.mark.parametrize("means", [SETTLED, (0.57,) * 5, (0.3, 0.4, 0.47, 0.52, 0.56)])
@pytest.mark.parametrize("folds", [2, 4])
def test_flat_and_rising_noisy_curves_are_rarely_called_past_their_best(means, folds: int) -> None:
    assert alarms(means, folds=folds, repeats=200) <= 0.08, "5 % and what 200 repeats leave open"


def test_the_level_holds_whatever_the_noise_and_the_number_of_steps() -> None:
    """The best of many earlier steps is picked: without a correction, .14 to .23 of flat curves of ten steps do."""
    rng = np.random.default_rng(0)
    for folds in (2, 3, 4, 5, 10):
        for points in (2, 5, 10):
            for spread in (np.ones(folds), np.linspace(0.3, 2, folds)):
                flat = 0.01 * spread[:, None] * rng.normal(size=(2000, folds, points))
                share = np.mean([decline(one, STEPS * 2, tolerance=TOLERANCE, level=LEVEL) is not None for one in flat])
                assert share <= 0.065, (folds, points, share)


def test_falling_curves_are_found() -> None:
    assert alarms(PEAK, folds=4, repeats=200) > 0.8
    assert alarms(PEAK, folds=2, noise=0.001, repeats=100) > 0.7, "two folds need a steep fall"
    (found,) = learning_curves(pd.DataFrame(curve_rows("x", PEAK))).values()
    assert found.past_best is not None
    assert (found.past_best.best_step, found.past_best.last_step) == (60, 100)
    assert found.past_best.drop == pytest.approx(0.05)


def test_a_fall_too_small_to_matter_or_made_good_at_the_end_does_not_count() -> None:
    rows = [*curve_rows("small", (0.1, 0.5, 0.56, 0.5715, 0.57)), *curve_rows("dip", (0.1, 0.6, 0.4, 0.5, 0.58))]
    curves = learning_curves(pd.DataFrame(rows))
    assert curves["small"].past_best is None
    assert (curves["dip"].still_rising, curves["dip"].past_best) == (True, None)


def test_smaller_is_better_where_the_metric_says_so() -> None:
    rising = pd.DataFrame(curve_rows("x", (0.4, 0.2, 0.1, 0.15, 0.2), metric="eer"))
    found = learning_curves(rising)["x"].past_best
    assert found is not None
    assert found.drop == pytest.approx(0.1)


def test_where_the_best_step_was_chosen_nothing_is_lost() -> None:
    """With `training.select: best` the weights of the peak are those that are scored."""
    final = {**curve_rows("x", PEAK)[0], "kind": "final", "split": "test"}
    for step, expected in ((60, True), (100, False)):
        rows = [*curve_rows("x", PEAK), {**final, "step": step}]
        assert (learning_curves(pd.DataFrame(rows))["x"].past_best is None) == expected


def test_one_fold_or_one_point_can_t_tell() -> None:
    assert learning_curves(pd.DataFrame(curve_rows("x", PEAK, folds=1)))["x"].past_best is None
    assert learning_curves(pd.DataFrame(curve_rows("x", PEAK)).query("step == 100"))["x"].past_best is None


def test_a_note_a_field_and_advice_say_so() -> None:
    results, by_class = study()
    rng = np.random.default_rng(0)
    rows = [*curve_rows("triplet", SETTLED, rng, noise=0.002), *curve_rows("arcface", PEAK)]
    results = pd.concat([results, pd.DataFrame(rows)], ignore_index=True)
    found = compare(results, by_class)
    note = (
        "arcface is past its best: its validation mean fell by 0.050 from step 60 to 100; consider "
        "`training.select: best` or fewer steps."
    )
    assert note in found.notes
    assert note in str(found)
    records = {record["loss"]: record for record in json.loads(ranking_json(found))}
    assert records["arcface"]["past_best"]["best_step"] == 60
    assert records["triplet"]["past_best"] is None
    advice = next_steps(found, results, found.metric)
    assert "An earlier step: arcface (best at step 60) fell before training stopped; try training.select: best." in (
        advice
    )
    assert not any(line.startswith("Fewer losses") and "arcface" in line for line in advice)
