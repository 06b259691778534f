"""Every pair of losses: difference, intervals, p-values, probability that one beats the other."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from mlcompare.comparison.correction import holm, simultaneous_intervals
from mlcompare.comparison.random_effects import means
from mlcompare.comparison.table import Scores

__all__ = ["indistinguishable", "pair", "pairs_of", "pairwise", "probability_of_beating", "with_baselines"]

COLUMNS: tuple[str, ...] = ("a", "b", "difference", "ci_low", "ci_high", "p_value")
COLUMNS += ("simultaneous_low", "simultaneous_high", "p_holm", "probability_a_beats_b", "classes", "folds", "runs")


def pairs_of(losses: Sequence[str]) -> list[tuple[str, str]]:
    """All pairs of losses."""
    return list(itertools.combinations(losses, 2))


def with_baselines(losses: Sequence[str], baselines: Iterable[str]) -> list[tuple[str, str]]:
    """Every loss with every baseline."""
    return list(itertools.product(losses, baselines))


def pairwise(
    scores: Scores, pairs: Sequence[tuple[str, str]], *, higher: bool = True, confidence: float = 0.95
) -> pd.DataFrame:
    """Compare the pairs on the classes and runs that both have.

    Holm's correction is over *all* pairs given, so it stays right when the best loss is picked by the same scores.

    Args:
        higher: whether larger scores are better; it only bears on ``probability_a_beats_b``.

    Returns:
        A row for each pair: ``a, b, difference`` (a - b); ``ci_low, ci_high`` and ``p_value`` of this pair alone;
        ``simultaneous_low, simultaneous_high`` and ``p_holm``, which hold for all pairs together;
        ``probability_a_beats_b``; and how many ``classes, folds, runs`` they share. NaN where they share none.
    """
    if not pairs:
        return pd.DataFrame(columns=COLUMNS)
    matrices = [scores.of(a) - scores.of(b) for a, b in pairs]  # (C, R) each
    found = means(matrices, scores.folds, limit=scores.largest_difference)
    low, high = found.intervals(confidence)
    p_values = found.p_values()
    p_holm = holm(p_values)
    first, second = zip(*pairs)
    beats = [probability_of_beating(matrix if higher else -matrix) for matrix in matrices]
    together = simultaneous_intervals(found, p_holm, confidence)
    columns = [first, second, found.mean, low, high, p_values, *together, p_holm]
    runs = [int((~np.isnan(matrix).all(axis=0)).sum()) for matrix in matrices]
    classes = [part.classes if scores.unit == "class" else 0 for part in found.parts]
    columns += [beats, classes, [1 if part.by_seeds else part.folds for part in found.parts], runs]
    return pd.DataFrame(dict(zip(COLUMNS, columns)))


def pair(table: pd.DataFrame, a: str, b: str) -> dict | None:
    """Return the row of a pair turned to ``a - b``, whichever way it stands in the table; None if it isn't there.

    >>> pair(pd.DataFrame([("x", "y", 0.1, 0.0, 0.3)], columns=["a", "b", "difference", "ci_low", "ci_high"]), "y", "x")
    {'a': 'y', 'b': 'x', 'difference': -0.1, 'ci_low': -0.3, 'ci_high': -0.0}
    """
    place = next((place for place, names in enumerate(zip(table["a"], table["b"])) if {*names} == {a, b}), None)
    if place is None:
        return None
    row = table.iloc[place].to_dict()
    if row["a"] == a:
        return row
    turned = {**row, "a": a, "b": b, "difference": -row["difference"]}
    for low, high in (("ci_low", "ci_high"), ("simultaneous_low", "simultaneous_high")):
        if low in row:
            turned[low], turned[high] = -row[high], -row[low]
    if "probability_a_beats_b" in row:
        turned["probability_a_beats_b"] = 1.0 - row["probability_a_beats_b"]
    return turned


def indistinguishable(table: pd.DataFrame, best: str, names: Sequence[str], level: float) -> list[str]:
    """Return the names that the test couldn't tell from ``best`` at ``level``; the best itself is one of them."""
    told_apart = set()
    for row in table[table["p_holm"] <= level].itertuples():
        if best in (row.a, row.b):
            told_apart.add(row.b if row.a == best else row.a)
    return [name for name in names if name not in told_apart]


def probability_of_beating(differences: np.ndarray) -> float:
    """Share of classes and runs in which A scores above B, ``P(A > B) + ½ P(A = B)``; ``differences (C, R)`` are A - B.

    In [0, 1], ½ meaning no preference; NaN without a common score (Agarwal et al. 2021, arXiv:2108.13264).

    >>> probability_of_beating(np.array([[0.1, 0.2], [0.0, -0.1]]))
    0.625
    """
    known = differences[~np.isnan(differences)]
    return float(((known > 0) + 0.5 * (known == 0)).mean()) if known.size else float("nan")
