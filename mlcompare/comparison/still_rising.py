"""Who was still rising when training stopped: the rule, and the learning curves that it reads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from mlcompare.comparison.past_best import Decline, decline
from mlcompare.metrics import bounds, higher_is_better

__all__ = [
    "LEVEL",
    "TOLERANCE",
    "LearningCurve",
    "curve_fields",
    "learning_curves",
    "rising_notes",
    "rising_sentence",
    "still_rising",
]

LEVEL = 0.05  # false alarms on a curve that is flat
TOLERANCE = 0.002  # of the metric's range: what a longer training would bring beyond it changes no conclusion


@dataclass(frozen=True)
class LearningCurve:
    """The learning curve of one loss's selected setting on the validation samples, mean over folds and seeds.

    Attributes:
        step, value: the measured steps ``(P,)`` and the mean at each.
        folds: how many folds it is the mean of.
        gain: the last stretch's mean gain, positive where the metric became better; None with fewer than two points.
        error: the gain's standard error over folds; None with fewer than two folds.
        still_rising: see :func:`still_rising`; None where the table can't tell.
        past_best: how far it fell from its best step; None where it didn't, was still rising, or the table can't tell.
    """

    loss: str
    step: tuple[int, ...]
    value: tuple[float, ...]
    folds: int
    gain: float | None
    error: float | None
    still_rising: bool | None
    past_best: Decline | None = None

    def record(self) -> dict[str, Any]:
        """Return the curve as plain data, as ``mlcompare results --format json`` shows it."""
        return {"step": list(self.step), "value": list(self.value), "gain": self.gain, "error": self.error}


def curve_fields(curve: LearningCurve | None) -> dict[str, Any]:
    """Return what a loss's row of a ranking says of its learning curve.

    >>> curve_fields(None)
    {'still_rising': None, 'past_best': None, 'curve': None}
    """
    past = None if curve is None else curve.past_best
    return {
        "still_rising": None if curve is None else curve.still_rising,
        "past_best": None if past is None else past.record(),
        "curve": None if curve is None else curve.record(),
    }


def learning_curves(results: pd.DataFrame) -> dict[str, LearningCurve]:
    """Return loss → its learning curve, of the results table's rows of the kind ``curve``.

    They are those of the final trainings of the selected setting. Losses without any are left out, and so are steps
    that not every training has. A table that was made elsewhere may have none at all.
    """
    rows = results[(results["kind"] == "curve") & (results["source"] == "selected") & (results["status"] == "ok")]
    if rows.empty or "step" not in rows:
        return {}
    metric = str(rows["metric"].iloc[0])  # the study's objective
    higher, (low, high) = higher_is_better(metric), bounds(metric)
    span = high - low
    found = {}
    every_run = rows.pivot_table(index=["loss", "fold", "seed"], columns="step", values="value")
    for loss in rows["loss"].unique():
        by_run = every_run.loc[loss].dropna(axis=1)  # (R, P)
        by_fold = by_run.groupby("fold").mean()  # (F, P)
        if by_fold.shape[1] == 0:
            continue
        values = by_fold.to_numpy(dtype=float)
        sign, steps = 1 if higher else -1, tuple(int(step) for step in by_fold.columns)
        gains = (values[:, -1] - values[:, -2]) * sign if values.shape[1] > 1 else None
        tolerance = TOLERANCE * (span if math.isfinite(span) else abs(float(values[:, -1].mean())))
        judged = _judged(gains, tolerance)
        fell = None
        if not judged[-1] and not _chose_a_step(results, str(loss), steps[-1]):
            fell = decline(sign * values, steps, tolerance=tolerance, level=LEVEL)
        mean = tuple(float(value) for value in values.mean(axis=0))
        found[str(loss)] = LearningCurve(str(loss), steps, mean, len(values), *judged, fell)
    return found


def _chose_a_step(results: pd.DataFrame, loss: str, last: int) -> bool:
    """Whether weights of an earlier step than the last are scored (``training.select: best``)."""
    finals = results[(results["loss"] == loss) & (results["kind"] == "final") & (results["source"] == "selected")]
    return bool((finals["step"].dropna() < last).any())


def _judged(gains: np.ndarray | None, tolerance: float) -> tuple[float | None, float | None, bool | None]:
    if gains is None:
        return None, None, None
    gain = float(gains.mean())
    if len(gains) < 2:
        return gain, None, None
    error = float(gains.std(ddof=1) / math.sqrt(len(gains)))
    return gain, error, still_rising(gains, tolerance=tolerance)


def still_rising(gains: np.ndarray, *, tolerance: float = TOLERANCE, level: float = LEVEL) -> bool:
    """Say whether a loss was still rising when training stopped.

    ``gains (F,)`` are the gains from the point before the last to the last, one for each fold (the mean over its
    seeds), positive where the metric became better. It was still rising where their mean g exceeds the tolerance and is
    told apart from zero by a one-sided t-test over folds::

        g > tolerance   and   g > t(1 − level; F − 1) · s / √F

    with s the standard deviation of the gains. On curves that are flat in truth it is wrong in at most ``level`` of all
    cases, whatever the noise (by simulation: .05 for 2 to 10 folds, equal and unequal noise). A gain of 1.5 standard
    deviations of one fold's noise is found in .26, .52, .74, .86 and 1.00 of all cases with 2, 3, 4, 5 and 10 folds:
    with two folds it takes a steep curve. A learning rate that falls to zero makes the last stretch rise as well; only
    a longer training tells what more steps bring.

    >>> still_rising(np.array([0.021, 0.025, 0.018, 0.030]))
    True
    >>> still_rising(np.array([0.021, -0.025, 0.018, 0.002])), still_rising(np.full(4, 0.001))
    (False, False)
    """
    gains = np.asarray(gains, dtype=float)
    if len(gains) < 2 or not np.isfinite(gains).all():
        return False
    error = gains.std(ddof=1) / math.sqrt(len(gains))
    return bool(gains.mean() > max(tolerance, stdtrit(len(gains) - 1, 1 - level) * error))


def rising_sentence(curves: Mapping[str, LearningCurve], best: str | None = None) -> str | None:
    """Return what a verdict says of losses that were still rising, or None where none was.

    Args:
        best: the leading loss, if any: a conclusion about it rests on its rivals having been trained to their end.
    """
    rising = [name for name, curve in curves.items() if curve.still_rising]
    if not rising:
        return None
    names, verb = ", ".join(rising), "was" if len(rising) == 1 else "were"
    text = f"{names} {verb} still rising when training stopped"
    others = [name for name in rising if name != best]
    if best is None or not others:
        return f"{text}: more steps may bring more."
    return f"{text}: the conclusion rests on losses that weren't done, and more steps may change it."


def rising_notes(curves: Mapping[str, LearningCurve], best: str | None) -> list[str]:
    """Return :func:`rising_sentence` as a comparison's notes: one, or none."""
    sentence = rising_sentence(curves, best)
    return [sentence] if sentence else []
