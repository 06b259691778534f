"""Permutation p-values whose unit is the test class, and Holm's correction."""

from __future__ import annotations

import itertools
import math

import numpy as np

from mlcompare.comparison.effects import Effects, effects

__all__ = ["enough_flips", "holm", "sign_flip_p_values", "sign_flip_test"]

BATCH_ELEMENTS = 2**22
MOST_STATISTICS = 10**9  # flips × pairs: some seconds


def enough_flips(pairs: int, level: float, n_resamples: int) -> int:
    """Return how many sign flips P pairs need for Holm's first step to reach ``level`` / 4, ``n_resamples`` at least.

    A Monte Carlo p-value is never below ``1 / (1 + flips)``, and Holm multiplies the smallest by P.

    >>> enough_flips(105, 0.05, 10_000), enough_flips(726, 0.05, 10_000)
    (10000, 58080)
    """
    return max(n_resamples, min(math.ceil(4 * pairs / level), MOST_STATISTICS // max(pairs, 1)))


def sign_flip_test(differences: np.ndarray, generator: np.random.Generator, *, n_resamples: int = 10_000) -> float:
    """Two-sided p-value of "the mean difference is zero".

    Args:
        differences: ``(C,)`` one for each test class, or ``(C, R)`` for each class and run; NaN where missing.
        generator: draws the sign flips (none are drawn when all ``2^C`` can be listed).

    Each class's mean difference keeps or changes its sign, as would be equally likely were neither loss better. With
    several runs, the runs' own deviations are flipped too and added, so that a lucky training isn't taken for a better
    loss; without run effects nothing is added.

    >>> sign_flip_test(np.array([1.0, 2.0, 3.0, 1.0]), np.random.default_rng(0))  # 2 of 2⁴ sign patterns
    0.125
    """
    matrix = np.asarray(differences, dtype=float)
    parts = effects([matrix[:, None] if matrix.ndim == 1 else matrix])
    return float(sign_flip_p_values(parts, generator, n_resamples=n_resamples)[0])


def sign_flip_p_values(parts: Effects, generator: np.random.Generator, *, n_resamples: int = 10_000) -> np.ndarray:
    """Return the ``(P,)`` p-values of :func:`sign_flip_test` for P matrices of differences at once; NaN without scores.

    Monte Carlo p-values are ``(1 + hits) / (1 + n_resamples)`` (Phipson & Smyth 2010), never zero.
    """
    counts, runs = np.maximum(parts.class_counts, 1), np.maximum(parts.run_counts, 1)
    by_class = np.where(parts.present, parts.mean + parts.by_class, 0.0) / counts  # (C, P)
    by_run = parts.by_run * np.sqrt(parts.run_share * runs / np.maximum(runs - 1, 1)) / runs  # (R, P)
    observed = np.abs(parts.mean) * (1 - 1e-9) - 1e-15  # equal statistics are hits, rounding or not
    c, with_runs = len(by_class), bool(by_run.any())
    exact = not with_runs and 2**c <= max(n_resamples, 2)
    hits = np.zeros(len(parts.mean))
    total = 2**c if exact else n_resamples
    step = max(1, BATCH_ELEMENTS // (c + len(by_run)))
    patterns = itertools.product((-1.0, 1.0), repeat=c)
    for start in range(0, total, step):
        n = min(step, total - start)
        signs = np.array(list(itertools.islice(patterns, n))) if exact else _signs(generator, n, c)
        null = signs @ by_class  # (n, P)
        if with_runs:
            null += _signs(generator, n, len(by_run)) @ by_run
        hits += (np.abs(null) >= observed).sum(axis=0)
    p_values = hits / total if exact else (1 + hits) / (1 + total)
    return np.where(np.isnan(parts.mean), np.nan, p_values)


def _signs(generator: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    return generator.integers(0, 2, (rows, columns), dtype=np.int8) * 2.0 - 1.0


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's step-down adjustment of ``(P,)`` p-values: the chance of any false rejection stays below the level.

    Holm 1979. NaN stays NaN and doesn't count as a test.

    >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.06, 0.06]
    """
    p_values = np.asarray(p_values, dtype=float)
    adjusted = np.full(len(p_values), np.nan)
    order = np.argsort(p_values)[: int((~np.isnan(p_values)).sum())]  # NaN sorts last
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    return adjusted
