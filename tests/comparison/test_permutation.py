import itertools

import numpy as np
import pytest
from scipy.stats import binom, permutation_test
from statsmodels.stats.multitest import multipletests

from mlcompare.comparison import holm, sign_flip_test

from .simulate import crossed


def test_equals_scipy_when_all_patterns_are_listed(rng):
    d = rng.normal(0.3, 1.0, 9)
    expected = permutation_test((d,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert sign_flip_test(d, rng) == pytest.approx(expected)


def test_counts_all_patterns_by_hand(rng):
    d = np.array([0.5, -0.2, 0.9, 0.4, 0.0])
    sums = [abs(np.dot(signs, d)) for signs in itertools.product((-1, 1), repeat=5)]
    assert sign_flip_test(d, rng) == pytest.approx(np.mean([s >= abs(d.sum()) - 1e-12 for s in sums]))


def test_monte_carlo_agrees_with_the_list_and_follows_its_generator(rng):
    d = rng.normal(0.4, 1.0, 12)
    exact = sign_flip_test(d, rng, n_resamples=5000)
    drawn = sign_flip_test(d, np.random.default_rng(1), n_resamples=4000)
    assert drawn == pytest.approx(exact, abs=0.03)
    assert drawn == sign_flip_test(d, np.random.default_rng(1), n_resamples=4000)


def test_no_difference_at_all_is_never_significant(rng):
    assert sign_flip_test(np.zeros(8), rng) == 1.0
    assert sign_flip_test(np.zeros((30, 4)), rng) == 1.0
    assert np.isnan(sign_flip_test(np.full((3, 2), np.nan), rng))


@pytest.mark.parametrize(
    ("layout", "most"),
    [
        ({"of_run": 0.0, "of_class": 0.05}, 0.05),  # only classes differ: the plain test
        ({"of_run": 0.0, "of_class": 0.0}, 0.05),
        ({"of_run": 0.02, "of_class": 0.05}, 0.065),  # lucky runs too
        ({"of_run": 0.05, "of_class": 0.01}, 0.085),  # mostly luck, and only eight runs to see it
    ],
)
def test_rejects_at_the_stated_rate_when_nothing_differs(layout, most):
    rng, trials = np.random.default_rng(7), 800
    rejected = sum(sign_flip_test(crossed(rng, **layout), rng, n_resamples=400) <= 0.05 for _ in range(trials))
    assert rejected <= binom.ppf(0.999, trials, most)
    if layout == {"of_run": 0.0, "of_class": 0.05}:
        assert rejected >= binom.ppf(0.001, trials, 0.03)


def test_classes_alone_would_be_fooled_by_lucky_runs():
    rng, trials = np.random.default_rng(3), 300
    simulated = [crossed(rng, of_run=0.05, of_class=0.01) for _ in range(trials)]
    plain = np.mean([sign_flip_test(d.mean(axis=1), rng, n_resamples=400) <= 0.05 for d in simulated])
    ours = np.mean([sign_flip_test(d, rng, n_resamples=400) <= 0.05 for d in simulated])
    assert plain > 0.4
    assert ours < 0.12


def test_finds_a_difference(rng):
    assert sign_flip_test(crossed(rng, mean=0.1, of_class=0.05), rng) < 0.01


def test_holm_equals_statsmodels_and_skips_nan(rng):
    p = rng.random(12) ** 3
    expected = multipletests(p, method="holm")[1]
    np.testing.assert_allclose(holm(p), expected)
    np.testing.assert_allclose(holm(np.append(p, np.nan))[:-1], expected)
    assert np.isnan(holm(np.append(p, np.nan))[-1])
    assert holm(np.array([])).size == 0
