"""One row of the leaderboard: what the results table says about one loss or baseline, before any statistics."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from mlcompare.comparison.bounds import at_bound, wider_range
from mlcompare.comparison.table import NOT_FAILED

__all__ = ["UNFINISHED", "entry_rows", "final_scores"]

UNFINISHED = "no final run of the selected setting"


def entry_rows(results: pd.DataFrame, metric: str, spaces: Mapping[str, Mapping[str, Mapping]]) -> list[dict]:
    """Summarise the rows of each loss and baseline, in the order of the results table."""
    trials = results[results["kind"] == "trial"]
    of_all = {
        "family": results.dropna(subset=["family"]).drop_duplicates("loss").set_index("loss")["family"].to_dict(),
        "tuned": _means_over_folds(final_scores(results, metric, "selected")),
        "untuned": _means_over_folds(final_scores(results, metric, "default")),
        "setting": _settings(results),
        "trials": trials.groupby("loss")["trial"].nunique().to_dict(),
        "failed_trials": trials[~trials["status"].isin(NOT_FAILED)].groupby("loss")["trial"].nunique().to_dict(),
        "runs": _final_runs(results),
        "seconds": _each_run_once(results).groupby("loss")["seconds"].sum(min_count=1).to_dict(),
        "peak_memory": results.groupby("loss")["peak_memory"].max().to_dict(),
        "reason": _reasons(results),
    }
    return [
        _entry_row(str(name), metric, {key: told.get(name) for key, told in of_all.items()}, spaces.get(str(name), {}))
        for name in results["loss"].dropna().unique()
    ]


def _entry_row(name: str, metric: str, known: Mapping[str, Any], space: Mapping[str, Mapping]) -> dict:
    """Summarise what is known of one loss or baseline; None where a field has no meaning."""
    is_loss = known["family"] != "baseline"
    setting = known["setting"] if is_loss else None
    total, failed = known["runs"] or (0, 0)
    mean = _number(known["tuned"])
    return {
        "loss": name,
        "family": known["family"],
        "metric": metric,
        "mean": mean,
        "ci_low": None,
        "ci_high": None,
        "default_mean": _number(known["untuned"]) if is_loss else None,
        "difference_to_best": None,
        "difference_low": None,
        "difference_high": None,
        "p_value": None,
        "indistinguishable_from_best": None,
        "hyperparameters": setting,
        "at_bound": at_bound(setting or {}, space),
        "suggested_ranges": wider_range(setting or {}, space),
        "trials": int(known["trials"] or 0) if is_loss else None,
        "failed_trials": int(known["failed_trials"] or 0) if is_loss else None,
        "runs": total - failed,
        "failed_runs": failed,
        "seconds": _number(known["seconds"]),
        "peak_memory": _number(known["peak_memory"]),
        "reason": _reason(known["reason"], mean, total, failed, is_loss),
    }


def final_scores(rows: pd.DataFrame, metric: str, source: str) -> pd.DataFrame:
    """Return the successful final test rows of a metric with settings from ``source``, or of a baseline."""
    final = ((rows["kind"] == "final") & (rows["source"] == source)) | (
        (rows["kind"] == "baseline") & (source == "selected")
    )
    return rows[final & (rows["split"] == "test") & (rows["metric"] == metric) & (rows["status"] == "ok")]


def _means_over_folds(finals: pd.DataFrame) -> dict[str, float]:
    """Loss → mean over folds of the mean over their seeds: a fold with a failed seed counts as much as any other."""
    return finals.groupby(["loss", "fold"], dropna=False)["value"].mean().groupby("loss").mean().to_dict()


def _final_runs(results: pd.DataFrame) -> dict[str, tuple[int, int]]:
    """Loss → how many final runs of the selected setting there are, and how many of them failed."""
    selected = (results["kind"] == "final") & (results["source"] == "selected")
    finals = results[(selected | (results["kind"] == "baseline")).fillna(False)]
    sound = (finals["status"] == "ok").fillna(False).astype(bool)
    runs = sound.groupby([finals["loss"], finals["fold"], finals["seed"]], dropna=False).all().groupby("loss")
    return {name: (len(whole), int((~whole).sum())) for name, whole in runs}


def _each_run_once(results: pd.DataFrame) -> pd.DataFrame:
    """A run has a row for each metric, and for each source when the default was selected; its seconds count once."""
    setting = results["trial"].astype(object).where(results["trial"].notna(), results["source"].astype(object))
    return results.assign(setting=setting).drop_duplicates(["loss", "kind", "setting", "fold", "seed"])


def _settings(results: pd.DataFrame) -> dict[str, dict]:
    """Loss → the hyperparameters of its selected setting."""
    finals = (results["source"] == "selected") & (results["kind"] == "final") & results["hyperparameters"].notna()
    chosen = results[finals.fillna(False)].drop_duplicates("loss")
    values = zip(chosen["loss"], chosen["hyperparameters"])
    return {name: json.loads(value) if isinstance(value, str) else dict(value) for name, value in values}


def _reasons(results: pd.DataFrame) -> dict[str, str]:
    """Loss → why most of what failed of it did."""
    failed = results[((results["status"] != "ok") & results["reason"].notna()).fillna(False)]
    return {name: str(reasons.mode().iloc[0]) for name, reasons in failed.groupby("loss")["reason"]}


def _reason(told: str | None, mean: float | None, total: int, failed: int, is_loss: bool) -> str | None:
    if mean is None:
        return told or (UNFINISHED if is_loss else "no score")
    return f"{failed} of {total} final runs failed: {told or 'no reason given'}" if failed else None


def _number(value) -> float | None:
    return None if value is None or pd.isna(value) or not math.isfinite(value) else float(value)
