"""Bootstrap intervals that resample test classes and runs together."""

from __future__ import annotations

import numpy as np

from mlcompare.comparison.effects import Effects

__all__ = ["bootstrap_means", "interval", "probability_of_beating"]

BATCH_ELEMENTS = 2**22


def bootstrap_means(parts: Effects, generator: np.random.Generator, *, n_resamples: int = 10_000) -> np.ndarray:
    """Resample classes and runs with replacement and return the ``(n_resamples, P)`` means.

    Owen 2007's crossed ("pigeonhole") bootstrap without its interaction term, which would count the rest a third time;
    deviations are stretched by ``√(n / (n-1))``, for a resample of n varies too little. All P matrices meet the same
    classes and runs in a resample. NaN where there is no score.
    """
    classes, runs = parts.class_counts, parts.run_counts
    stretch_class = np.sqrt(classes / np.maximum(classes - 1, 1)) / np.maximum(classes, 1)  # (P,)
    stretch_run = np.sqrt(runs / np.maximum(runs - 1, 1)) / np.maximum(runs, 1)
    c, r = len(parts.by_class), len(parts.by_run)
    means = np.empty((n_resamples, len(parts.mean)))
    step = max(1, BATCH_ELEMENTS // (c + r))
    for start in range(0, n_resamples, step):
        n = min(step, n_resamples - start)
        class_weights = generator.multinomial(c, np.full(c, 1 / c), size=n)  # (n, C)
        run_weights = generator.multinomial(r, np.full(r, 1 / r), size=n)  # (n, R)
        part = (class_weights @ parts.by_class) * stretch_class + (run_weights @ parts.by_run) * stretch_run
        means[start : start + n] = parts.mean + part
    return means


def interval(draws: np.ndarray, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Return the central interval of ``draws (n, P)``: low ``(P,)`` and high ``(P,)``.

    >>> low, high = interval(np.arange(101.0)[:, None], 0.9)
    >>> low.round(6).tolist(), high.round(6).tolist()
    ([5.0], [95.0])
    """
    tail = (1.0 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1.0 - tail], axis=0)
    return low, high


def probability_of_beating(differences: np.ndarray) -> float:
    """Share of classes and runs in which A scores above B, ``P(A > B) + ½ P(A = B)``; ``differences (C, R)`` are A - B.

    In [0, 1], ½ meaning no preference; NaN without a common score (Agarwal et al. 2021, arXiv:2108.13264).

    >>> probability_of_beating(np.array([[0.1, 0.2], [0.0, -0.1]]))
    0.625
    """
    known = differences[~np.isnan(differences)]
    return float(((known > 0) + 0.5 * (known == 0)).mean()) if known.size else float("nan")
