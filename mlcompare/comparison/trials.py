"""The search: the best score so far by trial, and whether half the trials would have given the same ranking."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from mlcompare.comparison.table import choose_metric, higher_is_better

__all__ = ["BudgetSensitivity", "best_so_far", "budget_sensitivity", "trial_scores"]


def trial_scores(results: pd.DataFrame, metric: str | None = None) -> pd.DataFrame:
    """Return one row for each trial: ``loss, trial, value, source, hyperparameters``, in trial order.

    ``value`` is the mean over the trial's validation folds (and seeds); NaN when a fold of it failed, or was never run
    because the trial was behind.
    """
    metric = choose_metric(results, metric)
    trials = results[results["kind"] == "trial"]
    keys = ["loss", "trial"]
    frame = trials.groupby(keys, sort=False, as_index=False).agg(
        source=("source", "first"), hyperparameters=("hyperparameters", "first")
    )
    measured = trials[(trials["metric"] == metric) & (trials["split"] == "validation") & (trials["status"] == "ok")]
    values = measured.groupby(keys)["value"].mean()
    failed = trials[trials["status"] != "ok"].groupby(keys).size()  # or stopped
    index = pd.MultiIndex.from_frame(frame[keys])
    frame["value"] = values.reindex(index).to_numpy()
    frame.loc[index.isin(failed.index), "value"] = float("nan")
    folds = trials.groupby(keys)["fold"].nunique().reindex(index).to_numpy()
    frame.loc[folds < max(folds, default=0), "value"] = float("nan")
    order = {name: i for i, name in enumerate(dict.fromkeys(frame["loss"]))}
    frame = frame.sort_values(["loss", "trial"], key=lambda s: s.map(order) if s.name == "loss" else s)
    return frame[["loss", "trial", "value", "source", "hyperparameters"]].reset_index(drop=True)


def best_so_far(results: pd.DataFrame, metric: str | None = None) -> pd.DataFrame:
    """Return ``loss, trial, value, best``, the best validation score up to each trial; failed trials change nothing."""
    metric = choose_metric(results, metric)
    frame = trial_scores(results, metric)[["loss", "trial", "value"]]
    values = frame.groupby("loss", sort=False)["value"]
    frame["best"] = values.cummax() if higher_is_better(metric) else values.cummin()
    frame["best"] = frame.groupby("loss", sort=False)["best"].ffill()
    return frame


@dataclass(frozen=True)
class BudgetSensitivity:
    """The ranking on validation after a share of the trials, beside that after all.

    Attributes:
        trials: how many trials of each loss the share is.
        leader, leader_with_share: the best loss on validation after all trials and after the share.
        rank_correlation: Kendall's τ of the two rankings (1: the same order), None for fewer than two losses.
        table: ``loss, best, best_with_share, gain``, what the other trials still brought.
        sentence: the answer in words.
    """

    trials: int
    leader: str | None
    leader_with_share: str | None
    rank_correlation: float | None
    table: pd.DataFrame
    sentence: str


def budget_sensitivity(results: pd.DataFrame, metric: str | None = None, *, share: float = 0.5) -> BudgetSensitivity:
    """Ask whether the ranking on validation would change with a ``share`` of the trials (the first ones, in order)."""
    metric = choose_metric(results, metric)
    sign = 1.0 if higher_is_better(metric) else -1.0
    curves = best_so_far(results, metric)
    rows, kept = [], 0
    for name, curve in curves.groupby("loss", sort=False):
        part = curve.iloc[: max(1, int(len(curve) * share))]
        kept = max(kept, len(part))
        rows.append((name, curve["best"].iloc[-1], part["best"].iloc[-1]))
    table = pd.DataFrame(rows, columns=["loss", "best", "best_with_share"])
    table["gain"] = sign * (table["best"] - table["best_with_share"])
    known = table.dropna()
    if len(known) < 2:
        leader = known["loss"].iloc[0] if len(known) else None
        return BudgetSensitivity(kept, leader, leader, None, table, "Fewer than two losses have trials to compare.")
    leader = known["loss"].iloc[int((sign * known["best"]).argmax())]
    early = known["loss"].iloc[int((sign * known["best_with_share"]).argmax())]
    tau = _kendall_tau(known["best"], known["best_with_share"])
    agrees = f"The leader on validation, {leader}, led after {kept} trial{'s' * (kept > 1)} already"
    differs = f"After {kept} trials {early} led on validation; all trials put {leader} first"
    sentence = agrees if early == leader else differs
    sentence += "." if tau is None else f" (Kendall's τ of the rankings {tau:.2f})."
    return BudgetSensitivity(kept, leader, early, tau, table, sentence)


def _kendall_tau(x: pd.Series, y: pd.Series) -> float | None:
    """Kendall's τ-b; None when one of the two is constant."""
    from scipy.stats import kendalltau  # a second to import

    tau = float(kendalltau(x, y).statistic)
    return None if math.isnan(tau) else tau
