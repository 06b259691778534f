"""What a study suggests to try next, and what a study can tell apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mlcompare.comparison import compare, next_steps, smallest_difference, variances_of


def table(best_late: bool = False, apart: float = 0.3) -> pd.DataFrame:
    """A study of three losses, five trials each, three folds; ``far`` is ``apart`` behind the others."""
    rng, rows = np.random.default_rng(0), []
    for loss, mean in (("near", 0.81), ("best", 0.812), ("far", 0.8 - apart)):
        for trial in range(6):
            late = 0.1 if best_late and trial == 5 and loss == "best" else 0.0
            for fold in range(3):
                common = {"study": "s", "loss": loss, "family": "margin", "trial": trial, "fold": fold, "status": "ok"}
                common |= {"hyperparameters": f'{{"margin": {0.1 * trial}}}', "source": "sampled", "seconds": 1.0}
                value = 0.5 + 0.01 * (trial == 1) + late
                rows.append({**common, "kind": "trial", "split": "validation", "metric": "map_at_r", "value": value})
        for fold in range(3):
            common = {"study": "s", "loss": loss, "family": "margin", "trial": 1, "fold": fold, "status": "ok"}
            common |= {"hyperparameters": '{"margin": 0.5}', "source": "selected", "seed": 0, "seconds": 1.0}
            value = mean + rng.normal(0, 0.01)
            rows.append({**common, "kind": "final", "split": "test", "metric": "map_at_r", "value": value})
    return pd.DataFrame(rows).assign(reason=None, peak_memory=0)


def test_a_loss_that_is_told_apart_may_be_dropped_and_the_others_need_more() -> None:
    results = table()
    steps = next_steps(compare(results), results, "map_at_r")
    assert [step for step in steps if step.startswith("Fewer losses: far is told apart")]
    assert [step for step in steps if step.startswith(("To tell best from near", "To tell near from best"))]
    assert not [step for step in steps if step.startswith("More trials")]


def test_a_search_that_still_found_better_settings_needs_more_trials() -> None:
    results = table(best_late=True)
    steps = next_steps(compare(results), results, "map_at_r")
    assert [step for step in steps if step.startswith("More trials") and "best (0.510 → 0.600)" in step]


def test_a_setting_on_its_bound_gets_a_wider_range_that_a_study_file_takes() -> None:
    results = table()
    space = {"margin": {"low": 0.0, "high": 0.5, "log": False, "default": 0.2}}
    steps = next_steps(compare(results, spaces=dict.fromkeys(("best", "near"), space)), results, "map_at_r")
    wider = [step for step in steps if step.startswith("A wider range: best")]
    assert wider
    assert "margin: {low: 0, high: 1}" in wider[0]


def test_more_of_anything_tells_smaller_differences() -> None:
    usual = smallest_difference(20, 4, 2)
    assert smallest_difference(80, 4, 2) < usual
    assert smallest_difference(20, 8, 2) < usual
    assert smallest_difference(20, 4, 8) < usual
    assert np.isnan(smallest_difference(20, 1, 2))


def test_parts_of_variance_are_found_again() -> None:
    rng, classes, folds, seeds = np.random.default_rng(0), 400, 60, 4
    parts = {"of_class": 0.06, "of_fold": 0.03, "of_seed": 0.02, "of_cell": 0.04, "rest": 0.05}
    scores = (
        parts["of_class"] * rng.normal(size=(classes, 1, 1))
        + parts["of_fold"] * rng.normal(size=(1, folds, 1))
        + parts["of_seed"] * rng.normal(size=(1, folds, seeds))
        + parts["of_cell"] * rng.normal(size=(classes, folds, 1))
        + parts["rest"] * rng.normal(size=(classes, folds, seeds))
    )
    found = variances_of(scores.reshape(classes, -1), np.repeat(np.arange(folds), seeds))
    assert np.sqrt(found) == pytest.approx(list(parts.values()), rel=0.2)
    assert np.isnan(variances_of(scores[:, 0], np.zeros(seeds))).all()
