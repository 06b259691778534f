"""Read the results table, check it, and turn it into arrays ``losses × classes × runs``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mlcompare.errors import DataError, StoreError, UnknownNameError, did_you_mean
from mlcompare.metrics import bounds, higher_is_better

__all__ = ["Scores", "bounds", "choose_metric", "higher_is_better", "load_per_class", "load_results", "score_array"]

RESULT_COLUMNS: tuple[str, ...] = (
    "study",
    "loss",
    "family",
    "kind",
    "source",
    "trial",
    "fold",
    "seed",
    "split",
    "metric",
    "value",
)
RESULT_COLUMNS += ("status", "reason", "seconds", "peak_memory", "device", "hyperparameters")
CLASS_COLUMNS = ("study", "loss", "family", "kind", "source", "fold", "seed", "class", "metric", "value")


def load_results(store) -> pd.DataFrame:
    """Read ``<store>/results.parquet``.

    Raises:
        StoreError: there is no such file, or it can't be read.
        DataError: it is empty, or lacks a column.
    """
    return check_columns(_read(Path(store) / "results.parquet"), RESULT_COLUMNS, place=str(store))


def load_per_class(store) -> pd.DataFrame | None:
    """Read ``<store>/per_class.parquet``; None when the study left none (its metric has no value for one class)."""
    path = Path(store) / "per_class.parquet"
    frame = _read(path) if path.exists() else pd.DataFrame()
    return None if frame.empty else check_columns(frame, CLASS_COLUMNS, place=str(store))


def _read(path: Path) -> pd.DataFrame:
    if not path.exists():
        cure = "run the study first, or wait for it to finish" if path.parent.is_dir() else "check the path"
        raise StoreError("a finished study leaves results.parquet", value="none", cure=cure, place=str(path.parent))
    try:
        return pd.read_parquet(path)
    except Exception as error:  # pyarrow has no common base class for broken files
        raise StoreError(
            "the file must be readable parquet", value=f"{type(error).__name__}", place=str(path),
            cure="it may be half copied: copy the store again, or run the study again to rebuild it",
        ) from error  # fmt: skip


def check_columns(frame: pd.DataFrame, columns: Sequence[str], *, place: str) -> pd.DataFrame:
    """Return ``frame`` if it has rows and all ``columns``; raise DataError otherwise."""
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise DataError(f"the table needs the columns {', '.join(columns)}", value=f"no {missing}", place=place)
    if frame.empty:
        raise DataError("the table must have rows", value="0", cure="let at least one run finish", place=place)
    return frame


def choose_metric(results: pd.DataFrame, metric: str | None) -> str:
    """Return ``metric`` if it was measured; without one, the metric of the trials (the study's objective).

    Raises:
        UnknownNameError: ``metric`` isn't in the table.
    """
    measured = results.loc[results["metric"].notna(), ["kind", "metric"]]
    names = measured["metric"].unique().tolist()
    if not names:
        raise DataError("the table must hold a measured metric", value="none", cure="every run failed: see `reason`")
    if metric is not None:
        if metric not in names:
            raise UnknownNameError("unknown metric", value=repr(metric), cure=did_you_mean(metric, names))
        return metric
    trials = measured.loc[measured["kind"] == "trial", "metric"].unique().tolist() or names
    return trials[0] if len(trials) == 1 or "map_at_r" not in trials else "map_at_r"


@dataclass(frozen=True)
class Scores:
    """Scores of the entries of a study on the sealed test classes, one setting for each.

    Attributes:
        names: the ``L`` losses and baselines.
        units: the ``C`` test classes, or the ``R`` runs when there are no scores by class.
        values: ``(L, C, R)``, NaN where a run is missing or failed; ``(L, R, 1)`` when the unit is the run.
        unit: ``"class"`` or ``"run"``.
    """

    names: tuple[str, ...]
    units: tuple
    values: np.ndarray
    unit: str

    def of(self, name: str) -> np.ndarray:
        """Return the scores ``(C, R)`` of one entry; all NaN if it has none."""
        if name not in self.names:
            return np.full(self.values.shape[1:], np.nan)
        return self.values[self.names.index(name)]


def score_array(results: pd.DataFrame, per_class: pd.DataFrame | None, metric: str, *, source: str) -> Scores:
    """Collect the test scores of the final runs with settings from ``source`` ("selected" or "default"), and baselines.

    Runs (fold × seed) line up between the entries. A baseline that doesn't depend on the seed, or on the fold either,
    has fewer runs: its score stands beside every run of its fold, or beside all of them.
    """
    results = results[(results["split"] == "test") & (results["metric"] == metric) & (results["status"] == "ok")]
    finals, runs = _finals(results, source), _runs(_finals(results, "selected", "default"))  # runs of either source
    if per_class is not None:
        rows = _finals(per_class, source)
        rows = rows[rows["metric"] == metric]
        if rows["class"].nunique() > 1:
            return _by_class(rows, runs or _runs(rows))
    names = tuple(dict.fromkeys(finals["loss"]))
    values = np.full((len(names), len(runs), 1), np.nan)
    for i, name in enumerate(names):
        mine = finals[finals["loss"] == name]
        found = mine.groupby("run")["value"].mean()
        for r, run in enumerate(_counterparts(mine, runs)):
            values[i, r, 0] = found.get(run, np.nan)
    return Scores(names, tuple(runs), values, "run")


def _finals(frame: pd.DataFrame, *sources: str) -> pd.DataFrame:
    frame = frame[((frame["kind"] == "final") & frame["source"].isin(sources)) | (frame["kind"] == "baseline")]
    keys = (frame[name].astype("Int64").fillna(-1).astype("int64") for name in ("fold", "seed"))
    return frame.assign(run=pd.Series(list(zip(*keys)), index=frame.index, dtype=object))


def _runs(frame: pd.DataFrame) -> list[tuple[int, int]]:
    finals = frame[frame["kind"] == "final"]
    return sorted(set((finals if len(finals) else frame)["run"]))


def _counterparts(rows: pd.DataFrame, runs: list[tuple[int, int]]) -> list[tuple[int, int] | None]:
    """For each of ``runs``, the run of one entry that stands beside it: itself, or a baseline's only one."""
    found = set(rows["run"])
    baseline = bool((rows["kind"] == "baseline").all())

    def beside(run):
        if run in found or not baseline:
            return run if run in found else None
        same_fold = [other for other in found if other[0] == run[0]]
        only = same_fold if len(same_fold) == 1 else list(found)
        return only[0] if len(only) == 1 else None

    return [beside(run) for run in runs]


def _by_class(rows: pd.DataFrame, runs: list[tuple[int, int]]) -> Scores:
    names, classes = tuple(dict.fromkeys(rows["loss"])), tuple(sorted(rows["class"].unique()))
    values = np.full((len(names), len(classes), len(runs)), np.nan)
    for i, name in enumerate(names):
        mine = rows[rows["loss"] == name]
        table = mine.pivot_table(index="class", columns="run", values="value", aggfunc="mean").reindex(classes)
        for r, run in enumerate(_counterparts(mine, runs)):
            if run is not None and run in table.columns:
                values[i, :, r] = table[run].to_numpy(dtype=float)
    return Scores(names, classes, values, "class")
