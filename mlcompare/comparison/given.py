"""Tables made elsewhere: what they must have, what may be left out, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mlcompare.comparison.table import CLASS_COLUMNS, RESULT_COLUMNS, check_columns
from mlcompare.errors import DataError, UnknownNameError, did_you_mean

__all__ = ["complete_tables"]

NEEDED = ("loss", "metric", "value")
KINDS = ("trial", "final", "baseline", "curve")
KNOWN = (*RESULT_COLUMNS, "step", "run", "class", "samples")
DEFAULTS = {"study": "results", "family": None, "kind": "final", "trial": None, "split": "test", "reason": None,
            "seconds": np.nan, "peak_memory": np.nan, "device": None, "hyperparameters": None}  # fmt: skip


def complete_tables(results: pd.DataFrame, per_class: pd.DataFrame | None) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Return the results table and the scores by class with every column that a study's own tables have.

    ``results`` may hold scores by class itself, in a column ``class``; a run's score is then its mean over classes, or
    what a row of that run without a class says.

    Raises:
        DataError: an empty table, a missing column, two rows for one score, or a ``kind`` that isn't known.
        UnknownNameError: a column that isn't known.
    """
    results = _completed(results, place="compare: results")
    if "class" in results and results["class"].notna().any():
        by_class = results["class"].notna()
        per_class = results[by_class] if per_class is None else per_class
        results = _with_means(results[by_class], results[~by_class])
    if per_class is not None and not per_class.empty:
        per_class = check_columns(_completed(per_class, place="compare: per_class"), CLASS_COLUMNS, place="per_class")
    else:
        per_class = None
    return results, per_class


def _completed(frame: pd.DataFrame, *, place: str) -> pd.DataFrame:
    check_columns(frame, NEEDED, place=place)
    own = all(name in frame for name in CLASS_COLUMNS) or all(name in frame for name in RESULT_COLUMNS)
    if not own:
        frame = _made_elsewhere(frame, place)
    kinds = [kind for kind in frame["kind"].dropna().unique() if kind not in KINDS]
    if kinds:
        cure = f"{did_you_mean(str(kinds[0]), KINDS)}; final runs are what is compared"
        raise DataError("`kind` must be trial, final or baseline", value=repr(kinds[0]), cure=cure, place=place)
    return frame


def _made_elsewhere(frame: pd.DataFrame, place: str) -> pd.DataFrame:
    """Fill in what a table of one's own leaves out."""
    unknown = [name for name in frame.columns if name not in KNOWN]
    if unknown:
        cure = f"{did_you_mean(str(unknown[0]), KNOWN)}; drop or rename it"
        raise UnknownNameError(f"unknown column {str(unknown[0])!r}", cure=cure, place=place)
    if not {"run", "fold", "seed"} & set(frame.columns):
        raise DataError(
            "the table must say which run a score is from", value="no `run`, no `fold`, no `seed`", place=place,
            cure="number the repetitions of each loss in a column `run`",
        )  # fmt: skip
    if not pd.api.types.is_numeric_dtype(frame["value"]):
        cure = "convert the column, with NaN for failed runs"
        raise DataError("`value` must hold numbers", value=str(frame["value"].dtype), cure=cure, place=place)
    filled: dict[str, Any] = {name: value for name, value in DEFAULTS.items() if name not in frame}
    baseline = frame["kind"].eq("baseline") if "kind" in frame else pd.Series(False, index=frame.index)
    if "source" not in frame:
        filled["source"] = np.where(baseline, np.array(None, dtype=object), "selected")
    if "status" not in frame:
        filled["status"] = np.where(frame["value"].notna(), "ok", "failed")
    fold, seed = (("fold", "seed") if "seed" in frame else ("fold", "run")) if "fold" in frame else ("run", "seed")
    if fold not in frame:  # repetitions that differ in their seed alone
        filled["fold"], filled["seed"] = _numbered(frame["seed"]), 0
    else:
        filled["fold"], filled["seed"] = _numbered(frame[fold]), _numbered(frame[seed]) if seed in frame else 0
    frame = frame.assign(**filled)
    _check_once(frame, place)
    return frame


def _numbered(labels: pd.Series) -> pd.Series:
    """Whole numbers as they are; any other labels by their order."""
    if pd.api.types.is_integer_dtype(labels):
        return labels
    codes, _ = pd.factorize(labels, sort=True)
    return pd.Series(codes, index=labels.index).where(labels.notna())


def _check_once(frame: pd.DataFrame, place: str) -> None:
    keys = [name for name in ("loss", "kind", "source", "trial", "fold", "seed", "split", "metric", "class", "step")
            if name in frame]  # fmt: skip
    twice = frame[frame.duplicated(keys)]
    if len(twice):
        row = twice.iloc[0]
        raise DataError(
            "each loss, run, metric (and class) has one row", place=place,
            value=f"two of {row['loss']}, fold {row['fold']}, seed {row['seed']}, {row['metric']}",
            cure="number the repetitions in a column `run` or `seed`",
        )  # fmt: skip


def _with_means(by_class: pd.DataFrame, totals: pd.DataFrame) -> pd.DataFrame:
    """One row for each run and metric: what ``totals`` has, and means over classes for the rest."""
    keys = ["loss", "kind", "source", "trial", "fold", "seed", "split", "metric"]
    means = by_class.groupby(keys, sort=False, dropna=False, as_index=False).agg(
        {name: "mean" if name == "value" else "first" for name in by_class.columns if name not in keys}
    )
    if totals.empty:
        return means
    told = pd.MultiIndex.from_frame(totals[keys].astype(object))
    missing = ~pd.MultiIndex.from_frame(means[keys].astype(object)).isin(told)
    return pd.concat([totals, means[missing]], ignore_index=True)
