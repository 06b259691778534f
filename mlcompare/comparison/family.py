"""The question most studies ask: do margin losses beat metric losses, once both are tuned?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlcompare.comparison.bootstrap import bootstrap_means, interval
from mlcompare.comparison.effects import effects
from mlcompare.comparison.permutation import sign_flip_p_values
from mlcompare.comparison.table import Scores

__all__ = ["Contrast", "FamilyAnswer", "contrast", "family_answer"]


@dataclass(frozen=True)
class Contrast:
    """A difference with its uncertainty: ``difference`` in units of the metric, interval, and a sign-flip p-value."""

    difference: float
    ci_low: float
    ci_high: float
    p_value: float


@dataclass(frozen=True)
class FamilyAnswer:
    """Margin against metric losses.

    Attributes:
        best_margin, best_metric: the best tuned loss of each family.
        chosen_on: "validation" or "test": the scores that named them (on test the larger family is favoured a little).
        best: margin minus metric, those two losses.
        mean: margin minus metric, the mean over each family's losses.
        decided: whether the interval of ``best`` excludes zero.
        sentence: the answer in one sentence.
    """

    best_margin: str
    best_metric: str
    chosen_on: str
    best: Contrast
    mean: Contrast
    decided: bool
    sentence: str


def contrast(
    differences: np.ndarray, generator: np.random.Generator, *, confidence: float = 0.95, n_resamples: int = 10_000
) -> Contrast:
    """Return mean, bootstrap interval and p-value of a matrix of differences ``(C, R)``."""
    parts = effects([differences])
    low, high = interval(bootstrap_means(parts, generator, n_resamples=n_resamples), confidence)
    p_value = sign_flip_p_values(parts, generator, n_resamples=n_resamples)
    return Contrast(float(parts.mean[0]), float(low[0]), float(high[0]), float(p_value[0]))


def family_answer(
    scores: Scores, families: Mapping[str, str], validation: Mapping[str, float], generator: np.random.Generator, *,
    metric: str, higher: bool = True, confidence: float = 0.95, n_resamples: int = 10_000,
) -> FamilyAnswer | None:  # fmt: skip
    """Compare the families; None when one of them has no score.

    Args:
        families: loss → "metric" or "margin".
        validation: loss → validation score of its selected setting, which names the best of each family; when a loss
            with test scores lacks one, the test scores name them.
    """
    sign = 1.0 if higher else -1.0
    members = {
        family: [name for name in scores.names if families.get(name) == family and np.isfinite(scores.of(name)).any()]
        for family in ("margin", "metric")
    }
    if not all(members.values()):
        return None
    everyone = members["margin"] + members["metric"]
    on_validation = all(np.isfinite(validation.get(name, np.nan)) for name in everyone)
    rating = validation if on_validation else dict(zip(everyone, effects([scores.of(n) for n in everyone]).mean))
    best = {family: max(names, key=lambda name: sign * rating[name]) for family, names in members.items()}
    options: dict[str, Any] = {"confidence": confidence, "n_resamples": n_resamples}
    of_best = contrast(scores.of(best["margin"]) - scores.of(best["metric"]), generator, **options)
    means = {family: _family_mean(scores, names) for family, names in members.items()}
    of_mean = contrast(means["margin"] - means["metric"], generator, **options)
    decided = bool(of_best.ci_low > 0 or of_best.ci_high < 0)
    chosen_on = "validation" if on_validation else "test"
    sentence = _sentence(best, of_best, of_mean, decided, sign, metric, confidence, chosen_on)
    return FamilyAnswer(best["margin"], best["metric"], chosen_on, of_best, of_mean, decided, sentence)


def _family_mean(scores: Scores, names: Sequence[str]) -> np.ndarray:
    """Mean over the losses ``(C, R)``, where all of them have a score."""
    return np.mean([scores.of(name) for name in names], axis=0)


def _sentence(best, of_best: Contrast, of_mean: Contrast, decided, sign, metric, confidence, chosen_on) -> str:
    if np.isnan(of_best.difference):
        return f"{best['margin']} and {best['metric']} share no successful run, so the families can't be compared."
    ahead, behind = ("margin", "metric") if sign * of_best.difference >= 0 else ("metric", "margin")
    size = f"{metric} differs by {abs(of_best.difference):.3f}"
    low, high = sorted(abs(x) for x in (of_best.ci_low, of_best.ci_high))
    spread = f"({confidence:.0%} interval {low:.3f} to {high:.3f}, p = {of_best.p_value:.2g})"
    if decided:
        answer = f"The best tuned {ahead} loss, {best[ahead]}, beats the best tuned {behind} loss, {best[behind]}"
    else:
        answer = f"The best tuned losses of the families, {best['margin']} (margin) and {best['metric']} (metric), "
        answer += "can't be told apart"
        spread = f"(margin minus metric {of_best.difference:+.3f}, {confidence:.0%} interval {of_best.ci_low:+.3f} to "
        spread += f"{of_best.ci_high:+.3f}, p = {of_best.p_value:.2g})"
    over = f"; averaged over each family, margin minus metric is {of_mean.difference:+.3f} ({of_mean.ci_low:+.3f} to "
    over += f"{of_mean.ci_high:+.3f})"
    over = "" if np.isnan(of_mean.difference) else over
    return f"{answer}: {size} {spread}{over}. The best of each family is named by its {chosen_on} scores."
