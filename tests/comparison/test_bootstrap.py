import numpy as np
import pytest

from mlcompare.comparison import bootstrap_means, effects, interval, probability_of_beating

from .simulate import crossed


def covered(rng, layout, trials=400, **size):
    hits = 0
    for _ in range(trials):
        draws = bootstrap_means(effects([crossed(rng, mean=0.1, **layout, **size)]), rng, n_resamples=400)
        low, high = interval(draws)
        hits += low[0] <= 0.1 <= high[0]
    return hits / trials


@pytest.mark.parametrize(
    ("layout", "least"),
    [({"of_run": 0.0}, 0.92), ({"of_run": 0.03}, 0.90), ({"of_class": 0.0, "of_run": 0.0}, 0.94)],
)
def test_intervals_cover_the_truth(layout, least):
    assert covered(np.random.default_rng(5), layout, classes=25, runs=8) >= least - 0.03  # binomial: 2.7 sd below


def test_matches_the_known_variance(rng):
    scores = crossed(rng, classes=40, runs=6, of_run=0.05)
    draws = bootstrap_means(effects([scores]), rng, n_resamples=20_000)
    of_class = scores.mean(axis=1).var(ddof=1) / 40
    of_run = scores.mean(axis=0).var(ddof=1) / 6
    assert draws.var() == pytest.approx(of_class + of_run, rel=0.05)
    assert draws.mean() == pytest.approx(scores.mean(), abs=0.002)


def test_one_class_or_one_run_leaves_the_other_source(rng):
    scores = crossed(rng, classes=1, runs=6)
    assert bootstrap_means(effects([scores]), rng).var() == pytest.approx(scores.var(ddof=1) / 6, rel=0.1)
    scores = crossed(rng, classes=30, runs=1)
    assert bootstrap_means(effects([scores]), rng).var() == pytest.approx(scores.var(ddof=1) / 30, rel=0.1)


def test_missing_scores(rng):
    scores = crossed(rng, of_run=0.05)
    holed = scores.copy()
    holed[3, 2] = np.nan
    holed[:, 5] = np.nan
    holed[7] = np.nan
    rest = np.delete(np.delete(scores, 5, axis=1), 7, axis=0)
    found, expected = effects([holed]), effects([rest])
    assert found.class_counts[0] == 19
    assert found.run_counts[0] == 7
    assert found.mean[0] == pytest.approx(expected.mean[0], abs=0.002)
    assert found.run_share[0] == pytest.approx(expected.run_share[0], abs=0.1)
    assert np.isnan(bootstrap_means(effects([holed * np.nan]), rng)).all()


def test_a_missing_hard_class_does_not_flatter_a_run():
    scores = np.array([[0.1, 0.1, 0.1], [0.9, 0.9, 0.9]])
    scores[0, 2] = np.nan
    assert effects([scores]).by_run[:, 0] == pytest.approx([0, 0, 0])


def test_all_matrices_meet_the_same_resamples(rng):
    scores = crossed(rng)
    draws = bootstrap_means(effects([scores, scores + 0.1]), rng)
    np.testing.assert_allclose(draws[:, 1] - draws[:, 0], 0.1)


def test_probability_of_beating():
    assert probability_of_beating(np.array([[1.0, np.nan], [0.0, -1.0]])) == pytest.approx(0.5)
    assert np.isnan(probability_of_beating(np.array([[np.nan]])))
