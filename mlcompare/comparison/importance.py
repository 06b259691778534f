"""How much each hyperparameter mattered, as far as the trials can say.

The trials of a search are few and crowd around the optimum, so these are descriptions, not effects: a monotone trend
(Spearman's ρ with a permutation p-value) and the share of the variance that a parabola in the one hyperparameter
predicts for trials it hasn't seen (leave-one-out R²). What was searched on a log scale is seen on a log scale.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pandas as pd

from mlcompare.comparison.table import choose_metric, higher_is_better
from mlcompare.comparison.trials import trial_scores

__all__ = ["importance", "leave_one_out_r2", "rank_trend", "trial_settings"]

COLUMNS = ("loss", "hyperparameter", "trials", "trend", "p_value", "importance", "best_value")
FEWEST_TRIALS = 6  # with fewer, a parabola fits by chance


def trial_settings(results: pd.DataFrame, metric: str | None = None) -> pd.DataFrame:
    """Return ``loss, trial, hyperparameter, setting, value``: a row for each trial and numeric hyperparameter."""
    rows = []
    for trial in trial_scores(results, metric).itertuples():
        for name, setting in _decode(trial.hyperparameters).items():
            if isinstance(setting, int | float) and not isinstance(setting, bool):
                rows.append((trial.loss, trial.trial, name, float(setting), trial.value))
    return pd.DataFrame(rows, columns=["loss", "trial", "hyperparameter", "setting", "value"])


def _decode(text) -> dict:
    decoded = json.loads(text) if isinstance(text, str) and text else text
    return decoded if isinstance(decoded, dict) else {}


def importance(
    results: pd.DataFrame, generator: np.random.Generator, *, metric: str | None = None,
    spaces: Mapping[str, Mapping] | None = None, n_resamples: int = 2_000,
) -> pd.DataFrame:  # fmt: skip
    """Return a row for each loss and varied hyperparameter, the most important first.

    Columns: ``trend`` (Spearman's ρ in [-1, 1] of setting and validation score), its ``p_value``, ``importance``
    (leave-one-out R² in [0, 1]) and ``best_value``. NaN with fewer than six successful trials.
    """
    metric = choose_metric(results, metric)
    spaces, rows, higher = spaces or {}, [], higher_is_better(metric)
    for (loss, name), group in trial_settings(results, metric).dropna().groupby(["loss", "hyperparameter"], sort=False):
        settings, values = group["setting"].to_numpy(), group["value"].to_numpy()
        if np.ptp(settings) == 0:
            continue
        best = settings[np.argmax(values) if higher else np.argmin(values)]
        if len(values) < FEWEST_TRIALS:
            rows.append((loss, name, len(values), np.nan, np.nan, np.nan, best))
            continue
        searched = spaces.get(str(loss), {}).get(name, {})
        axis = np.log(settings) if searched.get("log", _looks_logarithmic(settings)) else settings
        trend, p_value = rank_trend(axis, values, generator, n_resamples=n_resamples)
        rows.append((loss, name, len(values), trend, p_value, leave_one_out_r2(axis, values), best))
    frame = pd.DataFrame(rows, columns=COLUMNS)
    return frame.sort_values("importance", ascending=False, kind="stable", ignore_index=True)


def _looks_logarithmic(settings: np.ndarray) -> bool:
    """Whether the settings tried are spread more evenly on a log scale (for callers that don't know the ranges)."""
    from scipy.stats import skew  # a second to import

    return bool(settings.min() > 0) and abs(skew(np.log(settings))) < abs(skew(settings))


def rank_trend(
    settings: np.ndarray, values: np.ndarray, generator: np.random.Generator, *, n_resamples: int = 2_000
) -> tuple[float, float]:
    """Spearman's ρ of ``settings (T,)`` and ``values (T,)`` (0 if constant), and its two-sided permutation p-value."""
    x, y = (pd.Series(part).rank().to_numpy() - (len(part) + 1) / 2 for part in (settings, values))
    scale = np.sqrt((x @ x) * (y @ y))
    if scale == 0:
        return 0.0, 1.0
    shuffled = generator.permuted(np.broadcast_to(y, (n_resamples, len(y))), axis=1) @ x / scale
    trend = float(x @ y / scale)
    return trend, float((1 + (np.abs(shuffled) >= abs(trend) - 1e-12).sum()) / (1 + n_resamples))


def leave_one_out_r2(settings: np.ndarray, values: np.ndarray) -> float:
    """Share of the variance of ``values (T,)`` that a parabola in ``settings (T,)`` predicts for a left-out trial.

    ``1 - Σ(error of the parabola without i)² / Σ(error of the mean without i)²``, at least 0.

    >>> leave_one_out_r2(np.arange(8.0), (np.arange(8.0) - 4) ** 2)
    1.0
    """
    spread = (settings - settings.mean()) / settings.std()
    powers = min(2, len(np.unique(settings)) - 1)
    design = np.vander(spread, powers + 1)  # (T, 3)
    hat = design @ np.linalg.pinv(design)  # (T, T)
    leverage = np.clip(np.diag(hat), 0.0, 1.0 - 1e-9)
    errors = (values - hat @ values) / (1.0 - leverage)  # the leave-one-out residuals of a linear fit
    plain = (values - values.mean()) * len(values) / (len(values) - 1)
    total = (plain**2).sum()
    return float(np.clip(round(1.0 - (errors**2).sum() / total, 12), 0.0, 1.0)) if total > 1e-24 else 0.0
