"""Intervals cover and tests reject as they say: simulation over designs that people run.

``tests/benchmarks/calibration.py`` measures the whole grid; this is a part of it with few repetitions.
"""

import itertools

import numpy as np
import pytest

from .simulate import calibration

REPETITIONS = 500
DESIGNS = list(itertools.product((10, 20, 100), (1, 5), (0.0, 0.7, 1.0), (0.01, 0.03, 0.1)))


@pytest.fixture(scope="module", params=[2, 3, 4, 5], ids="{} folds".format)
def measured(request):
    """Coverage and rejection ``(designs, 2)`` of a number of folds."""
    rng = np.random.default_rng(request.param)
    found = [
        calibration(rng, REPETITIONS, classes, request.param, seeds, run=run, fold_share=share)
        for classes, seeds, share, run in DESIGNS
    ]
    return request.param, np.array(found)


def test_coverage_and_rejection(measured):
    """Each design within 93-97 % (two folds: 93-98 %), give or take 3.5 standard errors of the simulation."""
    folds, found = measured
    least, most = (0.93, 0.97) if folds > 2 else (0.93, 0.98)
    slack = [3.5 * np.sqrt(edge * (1 - edge) / REPETITIONS) for edge in (least, most)]
    assert found[:, 0].min() >= least - slack[0]
    assert found[:, 0].max() <= most + slack[1]
    assert found[:, 0] + found[:, 1] == pytest.approx(1.0, abs=1e-9), "interval and test agree"


def test_on_average_they_are_right(measured):
    _, found = measured
    assert 0.945 < found[:, 0].mean() < 0.965


@pytest.mark.parametrize("seeds", [2, 5, 20])
def test_more_seeds_in_a_fold_do_not_make_it_overconfident(seeds):
    """20 classes, 4 folds, 70 % of the run noise the fold's: counted as independent, 5 seeds covered 70 %."""
    covered, rejected = calibration(np.random.default_rng(seeds), 1500, 20, 4, seeds, run=0.05, fold_share=0.7)
    assert 0.93 < covered < 0.97
    assert 0.03 < rejected < 0.07


def test_skewed_classes_cost_a_little():
    covered, _ = calibration(np.random.default_rng(9), 1500, 20, 4, 2, run=0.03, fold_share=0.7, skewed=True)
    assert 0.92 < covered < 0.97
