"""Tunability: what the search bought over the published default setting (Probst et al. 2019, arXiv:1802.09596)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mlcompare.comparison.bootstrap import bootstrap_means, interval
from mlcompare.comparison.effects import effects
from mlcompare.comparison.permutation import holm, sign_flip_p_values
from mlcompare.comparison.table import Scores

__all__ = ["tunability"]

COLUMNS = ("loss", "default_mean", "tuned_mean", "gain", "ci_low", "ci_high", "p_value", "p_holm")


def tunability(
    tuned: Scores, untuned: Scores, losses: list[str], generator: np.random.Generator, *, confidence: float = 0.95,
    n_resamples: int = 10_000,
) -> pd.DataFrame:  # fmt: skip
    """Return a row for each loss: means on the common classes and runs, gain (tuned - default), interval, p-values.

    ``tuned`` and ``untuned`` hold the scores of the selected and of the default settings. A gain of exactly 0 with an
    interval of no width means that the default itself was selected. NaN where either side has no score.
    """
    if not losses:
        return pd.DataFrame(columns=COLUMNS)
    runs = np.nan * np.ones(tuned.values.shape[1:])
    sides = [(tuned.of(name), untuned.of(name) if untuned.values.shape[1:] == runs.shape else runs) for name in losses]
    gains = effects([after - before for after, before in sides])
    low, high = interval(bootstrap_means(gains, generator, n_resamples=n_resamples), confidence)
    p_values = sign_flip_p_values(gains, generator, n_resamples=n_resamples)
    before = effects([np.where(np.isnan(after), np.nan, before) for after, before in sides]).mean
    after = effects([np.where(np.isnan(before), np.nan, after) for after, before in sides]).mean
    columns = (losses, before, after, gains.mean, low, high, p_values, holm(p_values))
    return pd.DataFrame(dict(zip(COLUMNS, columns)))
