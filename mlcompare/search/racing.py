"""Racing: a setting that is clearly behind does not see further folds, and does not train on.

Both decisions compare with the best setting that was trained whole, on the same folds and at the same steps, and take
the noise from how the other whole settings fared against it. Nothing else enters, so the journal alone decides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

__all__ = ["Curves", "Z", "clearly_behind", "least_values", "paired_spread"]

Z = 2.0  # standard errors of the paired deficit: about one in forty equally good settings is stopped wrongly
ENOUGH = 4  # paired differences that the spread is estimated from, at least

EARLIEST = 0.4  # of a training's steps: before, slow starters can't be told from those who are behind

Scores = Mapping[int, float]  # fold → objective
Curves = Mapping[int, Mapping[int, float]]  # fold → step → objective


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


def least_values(best: Curves, others: Sequence[Curves]) -> dict[int, tuple[tuple[int, float], ...]]:
    """Return ``fold → ((step, value), …)``: a training that is below the value at the step may stop.

    A deficit to the best at a step is less at the end by what slow starters recover. ``others`` tell how much that is,
    pooled over settings and folds: its mean r (never below 0) and its standard deviation σ. The value is the best's own
    at the step, less r + :data:`Z`·σ. Steps before :data:`EARLIEST` of the training have none, nor have steps that too
    few others were measured at.

    >>> best = {fold: {5: 0.5, 10: 0.8} for fold in range(2)}
    >>> others = [{0: {5: 0.40 + e, 10: 0.7}, 1: {5: 0.41, 10: 0.7 + e}} for e in (0.0, 0.02)]
    >>> step, value = least_values(best, others)[0][0]
    >>> step, round(value, 3)
    (5, 0.474)
    """
    last = max((step for curve in best.values() for step in curve), default=0)
    found: dict[int, list[tuple[int, float]]] = {fold: [] for fold in best}
    for step in sorted({step for curve in best.values() for step in curve if EARLIEST * last <= step < last}):
        recovered = [
            (curve[step] - other[fold][step]) - (curve[last] - other[fold][last])
            for other in others
            for fold, curve in best.items()
            if {step, last} <= curve.keys() & other.get(fold, {}).keys()
        ]
        if len(recovered) < ENOUGH:
            continue
        allowed = max(float(np.mean(recovered)), 0.0) + Z * float(np.std(recovered, ddof=1))
        for fold, curve in best.items():
            if step in curve:
                found[fold].append((step, curve[step] - allowed))
    return {fold: tuple(values) for fold, values in found.items() if values}


class Race:
    """What a round is raced against: the trials of earlier rounds that saw every fold and step.

    Args:
        whole: their objectives by fold and their curves, larger is better, in the order of their numbers.

    >>> values = {0: 0.5, 1: 0.6, 2: 0.7}
    >>> race = Race([({f: v - d * (1 + f) for f, v in values.items()}, {}) for d in (0.0, 0.01, 0.02)])
    >>> race.behind({0: 0.1}), race.behind({0: 0.5}), race.least(0)
    (True, False, ())
    """

    def __init__(self, whole: Sequence[tuple[Scores, Curves]]) -> None:
        ranked = sorted(whole, key=lambda trial: -sum(trial[0].values()))  # the first of equals stays the first
        self._best: Scores = ranked[0][0] if ranked else {}
        self._spread = paired_spread(self._best, [scores for scores, _ in ranked[1:]]) if ranked else None
        self._least = least_values(ranked[0][1], [curves for _, curves in ranked[1:]]) if ranked else {}

    def behind(self, scores: Scores) -> bool:
        """Whether a setting with these scores sees no further folds."""
        return clearly_behind(scores, self._best, self._spread)

    def least(self, fold: int) -> tuple[tuple[int, float], ...]:
        """Return ``((step, value), …)``: a training of the fold that is below the value at the step ends there."""
        return self._least.get(fold, ())
