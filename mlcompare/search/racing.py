"""Fold racing: a setting that is clearly behind on the folds it has seen does not see the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

__all__ = ["Z", "clearly_behind", "paired_spread"]

Z = 2.0  # standard errors of the paired deficit: about one in forty equally good settings is stopped wrongly
ENOUGH = 4  # paired differences that the spread is estimated from, at least

Scores = Mapping[int, float]  # fold → objective


def paired_spread(best: Scores, others: Sequence[Scores]) -> float | None:
    """Return the standard deviation of the fold-by-fold differences to the best whole setting, each setting's own mean
    difference taken out; ``None`` where there are too few differences to say.

    >>> round(paired_spread({0: .5, 1: .6, 2: .7}, [{0: .4, 1: .5, 2: .63}, {0: .4, 1: .47, 2: .6}]), 4)
    0.0173
    """
    differences = [np.array([best[fold] - scores[fold] for fold in sorted(best)]) for scores in others]
    freedom = sum(len(d) - 1 for d in differences)
    if freedom < ENOUGH:
        return None
    squares = sum(float(((d - d.mean()) ** 2).sum()) for d in differences)
    return math.sqrt(squares / freedom)


def clearly_behind(scores: Scores, best: Scores, spread: float | None) -> bool:
    """Whether a setting's mean deficit to ``best`` on its folds exceeds :data:`Z` standard errors.

    >>> clearly_behind({0: .40, 1: .48}, {0: .50, 1: .60, 2: .7}, spread=.02)
    True
    >>> clearly_behind({0: .49, 1: .60}, {0: .50, 1: .60, 2: .7}, spread=.02)
    False
    """
    if spread is None or not scores:
        return False
    deficit = float(np.mean([best[fold] - value for fold, value in scores.items()]))
    return deficit > Z * spread / math.sqrt(len(scores))
