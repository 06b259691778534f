"""Every pair of losses: difference, interval, corrected p-value, probability that one beats the other."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mlcompare.comparison.bootstrap import bootstrap_means, interval, probability_of_beating
from mlcompare.comparison.effects import effects
from mlcompare.comparison.permutation import enough_flips, holm, sign_flip_p_values
from mlcompare.comparison.table import Scores

__all__ = ["indistinguishable", "pairs_of", "pairwise"]

COLUMNS = ("a", "b", "difference", "ci_low", "ci_high", "p_value", "p_holm", "probability_a_beats_b", "classes", "runs")


def pairs_of(losses: Sequence[str], baselines: Iterable[str] = ()) -> list[tuple[str, str]]:
    """All pairs of losses, and every loss with every baseline."""
    return [*itertools.combinations(losses, 2), *itertools.product(losses, baselines)]


def pairwise(
    scores: Scores, pairs: Sequence[tuple[str, str]], generator: np.random.Generator, *, higher: bool = True,
    confidence: float = 0.95, n_resamples: int = 10_000,
) -> pd.DataFrame:  # fmt: skip
    """Compare the pairs on the classes and runs that both have.

    Holm's correction is over *all* pairs given, so it stays right when the best loss is picked by the same scores.

    Args:
        higher: whether larger scores are better; it only bears on ``probability_a_beats_b``.

    Returns:
        A row for each pair: ``a, b, difference`` (a - b, mean over classes and common runs), its interval, ``p_value``,
        ``p_holm``, ``probability_a_beats_b``, and how many ``classes`` and ``runs`` they share; NaN if none.
    """
    if not pairs:
        return pd.DataFrame(columns=COLUMNS)
    matrices = [scores.of(a) - scores.of(b) for a, b in pairs]  # (C, R) each
    parts = effects(matrices)
    low, high = interval(bootstrap_means(parts, generator, n_resamples=n_resamples), confidence)
    flips = enough_flips(len(pairs), 1.0 - confidence, n_resamples)
    p_values = sign_flip_p_values(parts, generator, n_resamples=flips)
    beats = [probability_of_beating(matrix if higher else -matrix) for matrix in matrices]
    first, second = zip(*pairs)
    by_class = scores.unit == "class"
    columns: list[Any] = [first, second, parts.mean, low, high, p_values, holm(p_values), beats]
    columns += [parts.class_counts if by_class else 0, parts.run_counts if by_class else parts.class_counts]
    return pd.DataFrame(dict(zip(COLUMNS, columns)))


def indistinguishable(table: pd.DataFrame, best: str, names: Sequence[str], level: float) -> list[str]:
    """Return the names that the test couldn't tell from ``best`` at ``level``; the best itself is one of them."""
    told_apart = set()
    for row in table[table["p_holm"] <= level].itertuples():
        if best in (row.a, row.b):
            told_apart.add(row.b if row.a == best else row.a)
    return [name for name in names if name not in told_apart]
