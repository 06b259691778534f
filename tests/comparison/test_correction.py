import itertools

import numpy as np
import pytest

from mlcompare.comparison import Means, Spread, holm, means, simultaneous_intervals

from .simulate import nested


def closed_bonferroni(p):
    """Holm's procedure by its definition as a closed test: the worst Bonferroni p-value of any set that holds i."""
    sets = [s for size in range(1, len(p) + 1) for s in itertools.combinations(range(len(p)), size)]
    return [max(min(1.0, len(s) * min(p[j] for j in s)) for s in sets if i in s) for i in range(len(p))]


def test_holm_equals_its_definition_and_skips_nan(rng):
    p = rng.random(8) ** 3
    np.testing.assert_allclose(holm(p), closed_bonferroni(p))
    np.testing.assert_allclose(holm(np.append(p, np.nan))[:-1], holm(p))
    assert np.isnan(holm(np.append(p, np.nan))[-1])
    assert holm(np.array([])).size == 0


@pytest.mark.parametrize("shift", [0.0, 0.03, 0.06])
def test_intervals_of_all_pairs_exclude_zero_exactly_where_holm_rejects(rng, shift):
    for _ in range(50):
        scores, folds = nested(rng, 6, 15, 4, 1, run=0.02, fold_share=0.5)
        found = means(list(scores + shift * np.arange(6)[:, None, None] / 5), folds)
        p_holm = holm(found.p_values())
        low, high = simultaneous_intervals(found, p_holm, 0.95)
        np.testing.assert_array_equal(p_holm <= 0.05, ~((low < 0) & (high > 0)))
        alone = found.intervals(0.95)
        assert ((low <= alone[0] + 1e-12) | (low == 0)).all()


def test_where_holm_is_sharper_than_bonferroni_the_interval_ends_at_zero():
    spread = Spread(*(np.array(part) for part in ([1.0, 1.0], [1.0, 1.0], [1e6, 1e6], [1e6, 1e6])))
    found = Means(np.array([5.0, 2.1]), spread, spread)
    p_holm = holm(found.p_values())
    assert p_holm[1] == pytest.approx(0.0357, abs=1e-3)
    low, high = simultaneous_intervals(found, p_holm, 0.95)
    assert low[1] == 0.0
    assert high[1] == pytest.approx(2.1 + 2.2414, abs=1e-3)


def test_intervals_hold_together():
    rng, held = np.random.default_rng(1), 0
    truth = np.array([0.0, 0.0, 0.05, 0.1, 0.2, -0.3])
    for _ in range(600):
        scores, folds = nested(rng, 6, 15, 4, 2, run=0.03, fold_share=0.5)
        found = means(list(scores + truth[:, None, None]), folds)
        low, high = simultaneous_intervals(found, holm(found.p_values()), 0.95)
        held += bool(((low <= truth) & (high >= truth)).all())
    assert held / 600 > 0.93
