"""What would tell two losses apart: folds, seeds and classes are different sources."""

import numpy as np
import pytest

from mlcompare.comparison import compare, means, runs_to_separate
from mlcompare.comparison.between_seeds import between_seeds

from .simulate import nested, study


def drawn(rng, classes, folds, seeds, mean, **layout):
    (scores,), labels = nested(rng, 1, classes, folds, seeds, **layout)
    return scores + mean - scores.mean(), labels


QUIET = {"of_cell": 0.001, "rest": 0.01}


def test_where_folds_are_the_noise_folds_help_and_neither_seeds_nor_classes(rng):
    found = runs_to_separate(*drawn(rng, 30, 4, 3, 0.03, run=0.05, fold_share=1.0, of_class=0.001, **QUIET))
    assert found.folds > 4
    assert (found.seeds, found.classes) == (None, None)
    assert "folds instead of 4" in found.sentence
    assert "More test classes or more seeds alone never would: the few folds limit" in found.sentence


def test_where_classes_are_the_noise_only_classes_help(rng):
    found = runs_to_separate(*drawn(rng, 20, 4, 2, 0.02, run=0.001, fold_share=0.5, of_class=0.1, **QUIET))
    assert found.classes > 20
    assert (found.folds, found.seeds) == (None, None)
    assert "More folds or more seeds alone never would: the few test classes limit" in found.sentence


def test_where_seeds_are_the_noise_seeds_help_too(rng):
    found = runs_to_separate(*drawn(rng, 50, 5, 3, 0.01, run=0.05, fold_share=0.0, of_class=0.001, **QUIET))
    assert found.seeds > 3
    assert found.folds > 5


def test_a_clear_difference_needs_nothing_more(rng):
    found = runs_to_separate(*drawn(rng, 20, 4, 2, 0.5, run=0.02, fold_share=0.5))
    assert found.folds == 4
    assert found.sentence.startswith("80% of studies with 4 folds × 2 seeds on 20 test classes would tell")


def test_what_cannot_be_said_is_said(rng):
    assert runs_to_separate(np.zeros((3, 2)), [0, 1]).folds is None
    assert "Two folds" in runs_to_separate(*drawn(rng, 20, 1, 3, 0.1, run=0.02, fold_share=0.5)).sentence
    one_seed = runs_to_separate(*drawn(rng, 20, 4, 1, 0.02, run=0.05, fold_share=0.5))
    assert one_seed.seeds is None
    assert "What more seeds would bring can't be said" in one_seed.sentence
    by_run = runs_to_separate(np.array([[0.01, 0.03, -0.01, 0.05]]), range(4))
    assert by_run.folds > 4
    assert by_run.classes is None
    assert "test classes" not in by_run.sentence


def test_variances_between_seeds(rng):
    scores, folds = nested(rng, 400, 10, 3, 4, run=0.05, fold_share=0.0, rest=0.06)
    of_runs, of_scores, degrees = np.mean([between_seeds(matrix, folds) for matrix in scores], axis=0)
    assert of_runs == pytest.approx(0.05**2 + 0.06**2 / 10, rel=0.05)
    assert of_scores == pytest.approx(0.06**2, rel=0.05)
    assert degrees == 3 * (4 - 1)
    assert np.isnan(between_seeds(scores[0][:, ::4], [0, 1, 2])[:2]).all()
    with_a_gap = np.vstack([scores[0], np.full((1, 12), np.nan)])
    assert between_seeds(with_a_gap, folds) == pytest.approx(between_seeds(scores[0], folds))


@pytest.mark.parametrize("more", ["folds", "classes"])
def test_the_estimate_has_the_stated_power(more):
    """With as much as advised, about 80 % of repetitions reach significance."""
    rng, layout = np.random.default_rng(0), {"run": 0.03, "fold_share": 0.5, "of_class": 0.03}
    size = {"classes": 40, "folds": 12}  # a pilot large enough to know the variances
    scores, folds = nested(rng, 40, *size.values(), 2, **layout)
    advised = [getattr(runs_to_separate(s - s.mean() + 0.022, folds), more) for s in scores]
    size[more] = int(np.median([n or 1000 for n in advised]))
    scores, folds = nested(rng, 400, *size.values(), 2, **layout)
    assert 0.68 < (means(list(scores + 0.022), folds).p_values() <= 0.05).mean() < 0.92


def test_separation_is_told_for_those_not_told_apart():
    results, per_class = study(means=dict.fromkeys(("triplet", "contrastive", "cosface", "arcface"), 0.6), noise=0.1)
    comparison = compare(results, per_class)
    equals = {r["loss"] for r in comparison.records() if r["indistinguishable_from_best"] and r["family"] != "baseline"}
    equals -= {comparison.best}
    assert set(comparison.separation) == equals
