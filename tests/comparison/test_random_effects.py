"""The analysis of variance against independent references; intervals and p-values against each other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import t, ttest_1samp

from mlcompare.comparison import bounded_intervals, mean_squares, means, probability_of_beating
from mlcompare.comparison.random_effects import critical_value

from .simulate import nested, nested_study

DESIGN = {"run": 0.05, "fold_share": 0.7}


def explained(y, *factors):
    """Sum of squares that an additive least-squares fit of dummy variables leaves unexplained."""
    columns = [np.ones(len(y))] + [(factor == level).astype(float) for factor in factors for level in np.unique(factor)]
    design = np.stack(columns, axis=1)
    fitted = design @ np.linalg.lstsq(design, y, rcond=None)[0]
    return ((y - fitted) ** 2).sum()


def test_mean_squares_equal_a_least_squares_analysis_of_variance(rng):
    (scores,), folds = nested(rng, 1, 7, 4, 3, **DESIGN)
    found = mean_squares(scores, folds)
    y = scores.reshape(7, 4, 3).mean(axis=2)
    label, fold = (index.ravel() for index in np.indices(y.shape))
    y = y.ravel()
    rest = explained(y, label, fold)
    assert found.rest == pytest.approx(rest / 18)
    assert found.by_class == pytest.approx((explained(y, fold) - rest) / 6)
    assert found.by_fold == pytest.approx((explained(y, label) - rest) / 3)
    assert (found.mean, found.classes, found.folds, found.seeds) == (pytest.approx(y.mean()), 7, 4, 3)


def test_a_textbook_layout():
    """Shrout & Fleiss 1979, table 2: six targets, four judges; mean squares 11.24, 32.49 and 1.02 (table 3)."""
    judges = np.array(
        [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=float
    )
    found = mean_squares(judges, range(4))
    assert (found.by_class, found.by_fold, found.rest) == pytest.approx((11.24, 32.49, 1.02), abs=0.005)


def test_the_variance_is_unbiased_where_nothing_is_floored(rng):
    scores, folds = nested(rng, 1500, 20, 4, 2, run=0.05, fold_share=0.7, of_class=0.1)
    expected = 0.1**2 / 20 + 0.05**2 * (0.7 / 4 + 0.3 / 8) + 0.03**2 / 80 + 0.06**2 / 160
    assert means(list(scores), folds).between_folds.variance.mean() == pytest.approx(expected, rel=0.05)
    assert scores.mean(axis=(1, 2)).var() == pytest.approx(expected, rel=0.1)


def test_one_factor_alone_is_students_t(rng):
    by_fold = rng.normal(0.1, 1.0, 5)
    found = means([by_fold[None]], range(5))
    assert found.p_values()[0] == pytest.approx(ttest_1samp(by_fold, 0.0).pvalue)
    low, high = found.intervals(0.9)
    assert (low[0], high[0]) == pytest.approx(ttest_1samp(by_fold, 0.0).confidence_interval(0.9))
    by_class = rng.normal(0.1, 1.0, (12, 1))
    found = means([by_class], [0])
    assert found.p_values()[0] == pytest.approx(ttest_1samp(by_class[:, 0], 0.0).pvalue)


def test_classes_that_make_all_the_difference_are_students_t(rng):
    """Every fold and seed the same: a baseline that doesn't learn."""
    by_class = rng.normal(0.1, 1.0, (9, 1))
    found = means([np.repeat(by_class, 6, axis=1)], [0, 0, 1, 1, 2, 2])
    assert found.p_values()[0] == pytest.approx(ttest_1samp(by_class[:, 0], 0.0).pvalue)


def test_folds_that_agree_by_chance_are_no_surer_than_their_seeds():
    """Two folds' means lie .001 apart, the six runs 13 points: the interval is that of the seeds."""
    runs = np.array([-8.6, 0.1, 4.65, -6.2, -2.4, 4.753])
    found = means([runs[None]], [0, 0, 0, 1, 1, 1])
    low, high = found.intervals(0.95)
    pooled = np.sqrt((runs[:3].var(ddof=1) + runs[3:].var(ddof=1)) / 2 / 6)
    assert (high - low)[0] == pytest.approx(2 * t.isf(0.025, 4) * pooled)
    assert found.p_values()[0] == pytest.approx(2 * t.sf(abs(runs.mean()) / pooled, 4))


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_intervals_shorter_than_the_seeds_show_are_not_told(rng, folds):
    """Where the seeds' spread sets the length, it covers as told; the folds' own intervals there don't."""
    scores, of_run = nested(rng, 3000, 20, folds, 3, run=0.1, fold_share=0.0)
    found = means(list(scores), of_run)
    by_folds, by_seeds = found.between_folds.reach(0.05), found.between_seeds.reach(0.05)
    assert (found.reach(0.05) == np.maximum(by_folds, by_seeds)).all()
    lucky = by_folds < by_seeds
    assert lucky.sum() > 400
    assert (np.abs(found.mean) <= by_folds)[lucky].mean() < 0.93 < (np.abs(found.mean) <= by_seeds)[lucky].mean()


def test_the_seeds_spread_of_a_nested_study_is_that_of_its_mean(rng):
    scores, folds = nested_study(rng, 1500, 40, 2, 3, 4, run=0.05, fold_share=0.0, of_class=0.0, of_cell=0.0)
    variance = means(list(scores), folds).between_seeds.variance.mean()
    assert variance == pytest.approx(0.05**2 / 24 + 0.06**2 / (40 * 12), rel=0.1)


def test_seeds_of_a_fold_are_one_observation(rng):
    """Repeating a fold's only seed adds nothing; nor does it matter how many seeds average to the same scores."""
    (scores,), folds = nested(rng, 1, 10, 4, 1, **DESIGN)
    once, thrice = means([scores], folds), means([np.repeat(scores, 3, axis=1)], np.repeat(folds, 3))
    assert thrice.between_folds.variance[0] == pytest.approx(once.between_folds.variance[0])
    assert thrice.p_values()[0] == pytest.approx(once.p_values()[0])


def test_classes_and_folds_play_the_same_part(rng):
    (scores,), _ = nested(rng, 1, 4, 9, 1, **DESIGN)
    wide, tall = means([scores], range(9)), means([scores.T], range(4))
    np.testing.assert_allclose(wide.intervals(), tall.intervals())


def test_one_fold_falls_back_on_its_seeds(rng):
    (scores,), _ = nested(rng, 1, 10, 1, 4, **DESIGN)
    alone, as_folds = means([scores], [3] * 4), means([scores], range(4))
    assert alone.parts[0].by_seeds
    np.testing.assert_allclose(alone.intervals(), as_folds.intervals())


def test_missing_runs_folds_and_classes(rng):
    (scores,), folds = nested(rng, 1, 10, 4, 2, **DESIGN)
    holed = scores.copy()
    holed[:, 1] = np.nan  # a seed: its fold has one left
    holed[:, 6:] = np.nan  # a fold
    holed[3, 4] = np.nan  # a class of a seed: the other seed stands for it
    found = mean_squares(holed, folds)
    assert (found.folds, found.classes) == (3, 10)
    kept = [
        scores[:, 0],
        scores[:, 2:4].mean(axis=1),
        np.where(np.arange(10) == 3, scores[:, 5], scores[:, 4:6].mean(axis=1)),
    ]
    expected = mean_squares(np.stack(kept, axis=1), range(3))
    assert (found.mean, found.by_class, found.by_fold) == pytest.approx(
        (expected.mean, expected.by_class, expected.by_fold)
    )
    holed[7, 4:6] = np.nan  # a class of a fold: it doesn't count, so that no fold is flattered
    assert mean_squares(holed, folds).classes == 9
    assert mean_squares(holed, folds).mean == pytest.approx(np.delete(np.stack(kept, axis=1), 7, axis=0).mean())


def test_folds_with_test_classes_of_their_own_count_folds(rng):
    scores = np.full((12, 4), np.nan)
    for fold in range(4):
        scores[3 * fold : 3 * fold + 3, fold] = rng.normal(0.2, 1.0, 3)
    found = means([scores], range(4))
    assert found.p_values()[0] == pytest.approx(ttest_1samp(np.nanmean(scores, axis=0), 0.0).pvalue)


def test_nothing_to_go_by_gives_nothing():
    for scores in (np.full((3, 2), np.nan), np.zeros((0, 2)), np.ones((1, 1))):
        found = means([scores], range(scores.shape[1]))
        assert np.isnan(found.p_values()[0])
        assert np.isnan(found.intervals()).all()
    assert means([], []).p_values().size == 0


def test_ties_are_never_significant():
    assert means([np.zeros((8, 4))], range(4)).p_values()[0] == 1.0
    assert means([np.zeros((8, 4))], range(4)).intervals() == (0.0, 0.0)
    always = means([np.full((8, 4), 0.25)], range(4))
    assert always.p_values()[0] == 0.0
    assert always.intervals() == (0.25, 0.25)


def test_critical_values_between_satterthwaite_and_cochran():
    share, f, c = 0.4, 3.0, 19.0
    satterthwaite = t.isf(0.025, 1 / (share**2 / f + (1 - share) ** 2 / c))
    cochran = share * t.isf(0.025, f) + (1 - share) * t.isf(0.025, c)
    assert critical_value(share, f, c, 0.05) == pytest.approx(satterthwaite / 3 + cochran * 2 / 3)
    assert critical_value(share, f, c, 0.5) < critical_value(share, f, c, 0.05)
    largest = np.sqrt(share * t.isf(1e-6, f) ** 2 + (1 - share) * t.isf(1e-6, c) ** 2)
    assert critical_value(share, f, c, 2e-6) == pytest.approx(largest, rel=0.1)
    assert critical_value(share, 1.0, c, 0.05) == pytest.approx(share * t.isf(0.025, 1) + (1 - share) * t.isf(0.025, c))


FINITE = st.floats(-1, 1, allow_nan=False, width=16)


@settings(max_examples=150, deadline=None)
@given(
    scores=st.tuples(st.integers(1, 5), st.integers(1, 6)).flatmap(lambda shape: arrays(float, shape, elements=FINITE)),
    seeds=st.integers(1, 3), level=st.sampled_from([0.2, 0.05, 0.01, 0.0005]),
)  # fmt: skip
def test_an_interval_excludes_zero_exactly_where_its_test_rejects(scores, seeds, level):
    folds = np.arange(scores.shape[1]) // seeds
    found = means([scores, scores - scores.mean() + 0.3], folds)
    low, high = found.intervals(1 - level)
    for p, below, above in zip(found.p_values(), low, high):
        near = min(abs(below), abs(above)) < 1e-9 * (above - below)  # on the edge within rounding
        assert np.isnan(p) or near or (p <= level) == (not below <= 0 <= above)


@settings(max_examples=60, deadline=None)
@given(scores=arrays(float, (4, 6), elements=FINITE), shift=FINITE, factor=st.sampled_from([-2.0, 0.5, 8.0]))
def test_order_unit_and_sign_do_not_matter(scores, shift, factor):
    folds = np.array([0, 0, 1, 1, 2, 2])
    order = np.array([4, 5, 0, 1, 3, 2])
    plain = means([scores], folds)
    moved = means([(factor * scores[::-1] + shift)[:, order]], folds[order])
    assert moved.mean[0] == pytest.approx(factor * plain.mean[0] + shift, abs=1e-9)
    reach = moved.reach(0.05)[0]
    assert reach == pytest.approx(abs(factor) * plain.reach(0.05)[0], rel=1e-6, abs=1e-6)


@settings(max_examples=100, deadline=None)
@given(scores=arrays(float, (3, 4), elements=st.floats(0, 1, width=16)), confidence=st.sampled_from([0.5, 0.95, 0.999]))
def test_intervals_of_shares_stay_in_bounds_and_hold_the_mean(scores, confidence):
    found = means([scores], [0, 0, 1, 1])
    low, high = (end[0] for end in bounded_intervals(found, confidence, (0.0, 1.0)))
    assert -1e-12 <= low <= found.mean[0] + 1e-9
    assert found.mean[0] - 1e-9 <= high <= 1 + 1e-12


def test_far_from_the_limits_an_interval_of_shares_is_the_plain_one(rng):
    found = means([0.5 + 0.001 * rng.normal(size=(10, 4))], range(4))
    np.testing.assert_allclose(bounded_intervals(found, 0.95, (0.0, 1.0)), found.intervals(0.95), atol=1e-5)
    percent = means([50 + rng.normal(size=(10, 4))], range(4))
    np.testing.assert_allclose(bounded_intervals(percent, 0.95, (0.0, 1.0)), percent.intervals(0.95))
    adjusted = means([np.linspace(-0.1, 0.1, 12).reshape(3, 4)], range(4))
    low, high = bounded_intervals(adjusted, 0.95, (-1.0, 1.0))
    assert low[0] < 0 < high[0]


def test_shares_near_one_are_covered():
    """Ten classes near .95: cut off at 1, intervals would cover some 91 %."""
    rng, repetitions = np.random.default_rng(4), 1500
    logits = 3.5 + rng.normal(size=(repetitions, 10, 1)) + 0.2 * rng.normal(size=(repetitions, 1, 4))
    truth = (1 / (1 + np.exp(-(3.5 + np.sqrt(1.04) * rng.normal(size=10**6))))).mean()
    scores = rng.binomial(10, 1 / (1 + np.exp(-logits))) / 10
    low, high = bounded_intervals(means(list(scores), range(4)), 0.95, (0.0, 1.0))
    assert 0.93 < ((low <= truth) & (high >= truth)).mean() < 0.97


def test_probability_of_beating():
    assert probability_of_beating(np.array([[1.0, np.nan], [0.0, -1.0]])) == pytest.approx(0.5)
    assert np.isnan(probability_of_beating(np.array([[np.nan]])))


def test_ten_thousand_classes_take_moments(rng):
    matrices = [rng.normal(size=(10_000, 8)) for _ in range(20)]
    found = means(matrices, np.repeat(range(4), 2))
    assert found.p_values().shape == (20,)
    assert all(part.classes == 10_000 for part in found.parts)


def test_a_nested_study_is_pooled_over_its_parts(rng) -> None:
    """Each class is sealed in one part; the parts' mean squares are pooled, and their means' own is beside."""
    scores, folds = nested_study(rng, 1, 12, 3, 2, 2, run=0.03, fold_share=0.7)
    found = mean_squares(scores[0], folds)
    blocks = [scores[0][4 * b : 4 * b + 4, 4 * b : 4 * b + 4] for b in range(3)]
    alone = [mean_squares(block, [0, 0, 1, 1]) for block in blocks]
    assert (found.classes, found.folds, found.parts, found.seeds) == (12, 6, 3, 2)
    for name in ("mean", "by_class", "by_fold", "rest"):
        assert getattr(found, name) == pytest.approx(np.mean([getattr(part, name) for part in alone]))
    assert found.by_part == pytest.approx(4 * 2 * np.var([part.mean for part in alone], ddof=1))


def test_parts_of_unlike_size_count_by_their_classes(rng) -> None:
    scores, folds = nested_study(rng, 1, 11, 2, 3, 1, run=0.03, fold_share=0.7)
    found = mean_squares(scores[0], folds)
    assert found.mean == pytest.approx(np.mean([np.nanmean(row) for row in scores[0]])), "the mean over classes"
    assert (found.classes, found.folds, found.parts) == (11, 6, 2)


def test_folds_with_a_test_class_each_are_no_parts(rng) -> None:
    """A part needs two folds and two classes; without that the folds' means are all there is."""
    scores = np.where(np.eye(4, dtype=bool), rng.normal(size=(4, 4)), np.nan)
    assert mean_squares(scores, range(4)).parts == 1


@pytest.mark.parametrize(("parts", "search"), [(3, 0.0), (5, 0.0), (3, 0.02), (5, 0.05)])
def test_a_nested_study_is_calibrated(rng, parts, search) -> None:
    """Careful without what a part's search adds, and near 95 % with it; two parts say too little of it."""
    scores, folds = nested_study(rng, 1000, 40, parts, 3, 2, run=0.03, fold_share=0.7, search=search)
    found = means(list(scores), folds)
    low, high = found.intervals(0.95)
    covered = ((low <= 0) & (high >= 0)).mean()
    assert 0.91 < covered <= 1.0
    assert (found.p_values() <= 0.05).mean() < 0.09
    naive = means([np.nanmean(s, axis=0)[None] for s in scores[:300]], range(len(folds)))  # every run for itself
    narrow = (naive.intervals(0.95)[1] - naive.intervals(0.95)[0]).mean()
    assert (high - low).mean() > narrow
