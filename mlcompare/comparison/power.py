"""How much more would settle it: the seeds, or the test classes, that would separate two losses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from mlcompare.comparison.effects import effects

__all__ = ["Separation", "runs_to_separate"]


@dataclass(frozen=True)
class Separation:
    """What it would take to tell two losses apart, if their true difference is the one observed.

    Attributes:
        runs: runs (fold × seed) needed of each loss with the same test classes; None when no number suffices.
        more_runs: how many of them are still missing; None likewise.
        classes: test classes needed with the runs there are; None when no number suffices.
        sentence: the same in words.
    """

    runs: int | None
    more_runs: int | None
    classes: int | None
    sentence: str


def runs_to_separate(
    differences: np.ndarray, *, power: float = 0.8, level: float = 0.05, most: int = 10_000
) -> Separation:
    """Estimate how many runs would separate two losses with the given ``power`` at the two-sided ``level``.

    ``Var(mean) = σ²_class / C + σ²_run / R + σ²_rest / (C R)``, estimated by analysis of variance; the difference is
    taken at face value, so a small observed one makes the answer large and uncertain.

    Args:
        differences: ``(C, R)`` scores of one loss minus the other, NaN where missing.
    """
    parts = effects([differences])
    mean, c, r = float(parts.mean[0]), int(parts.class_counts[0]), int(parts.run_counts[0])
    if c < 2 or r < 2 or mean == 0.0:
        return Separation(None, None, None, "Two runs, two test classes and a difference are needed to estimate this.")
    of_class, of_run, of_rest = _variances(differences, parts, c, r)
    target = (mean / (NormalDist().inv_cdf(1 - level / 2) + NormalDist().inv_cdf(power))) ** 2
    runs = _ceil((of_run + of_rest / c) / (target - of_class / c), most) if target > of_class / c else None
    classes = _ceil((of_class + of_rest / r) / (target - of_run / r), 100 * most) if target > of_run / r else None
    more = None if runs is None else max(runs - r, 0)
    return Separation(runs, more, classes, _sentence(more, runs, classes, c, r, power))


def _variances(differences, parts, c: int, r: int) -> tuple[float, float, float]:
    run_means = (parts.by_run[:, 0] ** 2).sum() / (r - 1)
    of_run = run_means * float(parts.run_share[0])
    known = ~np.isnan(differences)
    fitted = parts.mean[0] + parts.by_class[:, [0]] + parts.by_run[:, 0]
    rest = np.where(known, differences - fitted, 0.0)
    of_rest = (rest**2).sum() / max(known.sum() - c - r + 1, 1)
    of_class = max((parts.by_class[:, 0] ** 2).sum() / (c - 1) - of_rest / r, 0.0)
    return float(of_class), float(of_run), float(of_rest)


def _ceil(number: float, most: int) -> int | None:
    needed = max(math.ceil(number - 1e-9), 1)
    return needed if needed <= most else None


def _sentence(more, runs, classes, c: int, r: int, power: float) -> str:
    if more == 0:
        return f"{power:.0%} of studies of {r} runs on {c} test classes would tell such a difference; not this one."
    if more is not None:
        return f"About {more} more runs of each loss ({runs}, not {r}) would separate them with {power:.0%} power."
    if classes is not None:
        return f"More runs won't separate them; about {classes} test classes, not {c}, would with {power:.0%} power."
    return "Neither more runs nor more test classes alone would separate a difference this small."
