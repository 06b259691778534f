"""Racing: a setting that is behind does not see further folds, or does not train on.

Each decision compares with the best setting that was trained whole, on the same folds and at the same steps, and takes
the noise from how the other whole settings fared against it. Nothing else enters, so the journal alone decides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import stdtrit

__all__ = [
    "Curve",
    "Race",
    "Scores",
    "clearly_behind",
    "least_means",
    "likely_behind",
    "mean_curve",
    "paired_spread",
]

Z = 2.0  # standard errors of the paired deficit: about one in forty equally good settings is stopped wrongly
EARLY = 1.0  # standard errors of the deficit over all folds: one look stops at most one in six that would lead
ENOUGH = 4  # paired differences that the spread is estimated from, at least

EARLIEST = 0.2  # of a training's steps: before, slow starters can't be told from those who are behind
FEWEST = 3  # whole settings that must tell what is recovered, beside the best
LEVEL = 0.025  # of stopping a setting that would have caught up, by the normal model

Scores = Mapping[int, float]  # fold → objective
Curve = Mapping[int, float]  # step → objective


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
    return _deficit(scores, best) > Z * spread / math.sqrt(len(scores))


def likely_behind(scores: Scores, best: Scores, spread: float | None) -> bool:
    """Whether a setting's deficit to ``best`` over all folds is expected to exceed :data:`EARLY` standard errors.

    After k of F folds it is expected to stay the mean deficit so far, with the standard error ``σ √(1/k − 1/F)``: only
    the folds that are left can still change it.

    >>> likely_behind({0: .47}, {0: .50, 1: .60, 2: .7}, spread=.04)
    False
    >>> likely_behind({0: .47, 1: .57}, {0: .50, 1: .60, 2: .7}, spread=.04)
    True
    """
    if spread is None or not scores:
        return False
    return _deficit(scores, best) > EARLY * spread * math.sqrt(1 / len(scores) - 1 / len(best))


def _deficit(scores: Scores, best: Scores) -> float:
    return float(np.mean([best[fold] - value for fold, value in scores.items()]))


def least_means(best: Curve, others: Sequence[Curve]) -> tuple[tuple[int, float], ...]:
    """Return ``((step, value), …)``: a setting whose mean over all folds is below the value at the step may stop.

    A deficit to the best at a step is less at the end by what slow starters recover. ``others``, k whole settings, tell
    how much that is: its mean r (never below 0) and its standard deviation σ. The value is the best's own at the step,
    less ``r + t·σ·√(1 + 1/k)``, with Student's t of k - 1 degrees of freedom for an error of :data:`LEVEL` over all
    steps together. Steps before :data:`EARLIEST` of the training have no value, and fewer than :data:`FEWEST` others
    give none.

    >>> others = [{5: 0.40 + e, 10: 0.7} for e in (0.0, 0.01, 0.02)]
    >>> [(step, round(value, 3)) for step, value in least_means({5: 0.5, 10: 0.8}, others)]
    [(5, 0.45)]
    """
    last = max(best, default=0)
    steps = [step for step in sorted(best) if EARLIEST * last <= step < last]
    found = []
    for step in steps:
        recovered = [
            (best[step] - other[step]) - (best[last] - other[last]) for other in others if {step, last} <= other.keys()
        ]
        count = len(recovered)
        if count < FEWEST:
            continue
        quantile = -float(stdtrit(count - 1, LEVEL / len(steps)))
        reach = quantile * float(np.std(recovered, ddof=1)) * math.sqrt(1 + 1 / count)
        found.append((step, best[step] - max(float(np.mean(recovered)), 0.0) - reach))
    return tuple(found)


class Race:
    """What a round is raced against: the trials of earlier rounds that saw every fold and step.

    Args:
        whole: their objectives by fold and their curves by fold, larger is better, in the order of their numbers.
        early: whether :func:`likely_behind` stops a setting, instead of :func:`clearly_behind`.

    Attributes:
        least: :func:`least_means` of the curves' means over folds.

    >>> values = {0: 0.5, 1: 0.6, 2: 0.7}
    >>> race = Race([({f: v - d * (1 + f) for f, v in values.items()}, {}) for d in (0.0, 0.01, 0.02)])
    >>> race.behind({0: 0.1}), race.behind({0: 0.5}), race.least
    (True, False, ())
    """

    def __init__(self, whole: Sequence[tuple[Scores, Mapping[int, Curve]]], *, early: bool = False) -> None:
        ranked = sorted(whole, key=lambda trial: -sum(trial[0].values()))  # the first of equals stays the first
        self._rule = likely_behind if early else clearly_behind
        self._best: Scores = ranked[0][0] if ranked else {}
        self._spread = paired_spread(self._best, [scores for scores, _ in ranked[1:]]) if ranked else None
        best, *others = [mean_curve(curves) for _, curves in ranked] or [{}]
        self.least = least_means(best, others)

    def behind(self, scores: Scores) -> bool:
        """Whether a setting with these scores sees no further folds."""
        return self._rule(scores, self._best, self._spread)

    def expected(self, scores: Scores) -> float:
        """Return what a setting's mean over all folds would be: the best's own, less its deficit on the folds seen.

        >>> round(Race([({0: 0.5, 1: 0.7}, {})]).expected({0: 0.4}), 3)
        0.5
        """
        return float(np.mean(list(self._best.values()))) - _deficit(scores, self._best)


def mean_curve(curves: Mapping[int, Curve]) -> Curve:
    """Return the mean over folds at each step that every fold was measured at.

    >>> mean_curve({0: {5: 0.25, 10: 0.5}, 1: {10: 0.75}})
    {10: 0.625}
    """
    steps = set.intersection(*(set(curve) for curve in curves.values())) if curves else set()
    return {step: float(np.mean([curve[step] for curve in curves.values()])) for step in sorted(steps)}
