"""Tunability: what the search bought over the published default setting (Probst et al. 2019, arXiv:1802.09596)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mlcompare.comparison.correction import holm, simultaneous_intervals
from mlcompare.comparison.random_effects import means
from mlcompare.comparison.table import Scores

__all__ = ["tunability"]

COLUMNS: tuple[str, ...] = ("loss", "default_mean", "tuned_mean", "gain", "ci_low", "ci_high", "p_value")
COLUMNS += ("simultaneous_low", "simultaneous_high", "p_holm")


def tunability(tuned: Scores, untuned: Scores, losses: Sequence[str], *, confidence: float = 0.95) -> pd.DataFrame:
    """Return a row for each loss: means on the common classes and runs, gain (tuned - default), intervals, p-values.

    ``tuned`` and ``untuned`` hold the scores of the selected and of the default settings. As in
    :func:`mlcompare.comparison.pairwise`, ``ci_low, ci_high, p_value`` are about one loss alone; ``simultaneous_low,
    simultaneous_high, p_holm`` hold for all losses together. A gain of exactly 0 with an interval of no width means
    that the default itself was selected. NaN where either side has no score.
    """
    if not losses:
        return pd.DataFrame(columns=COLUMNS)
    nothing = np.full(tuned.values.shape[1:], np.nan)
    lined_up = untuned.values.shape[1:] == nothing.shape
    sides = [(tuned.of(name), untuned.of(name) if lined_up else nothing) for name in losses]
    gains = means([after - before for after, before in sides], tuned.folds, limit=tuned.largest_difference)
    before = means([np.where(np.isnan(after), np.nan, before) for after, before in sides], tuned.folds).mean
    p_values = gains.p_values()
    p_holm = holm(p_values)
    alone, together = gains.intervals(confidence), simultaneous_intervals(gains, p_holm, confidence)
    columns = (list(losses), before, before + gains.mean, gains.mean, *alone, p_values, *together, p_holm)
    return pd.DataFrame(dict(zip(COLUMNS, columns)))
