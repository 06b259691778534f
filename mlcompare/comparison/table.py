"""Read the results table, check it, and turn it into arrays ``losses × classes × runs``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mlcompare.errors import DataError, StoreError, UnknownNameError, did_you_mean

__all__ = ["Scores", "choose_metric", "higher_is_better", "load_per_class", "load_results", "score_array"]

RESULT_COLUMNS = ("study", "loss", "family", "kind", "source", "trial", "fold", "seed", "split", "metric", "value")
RESULT_COLUMNS += ("status", "reason", "seconds", "peak_memory", "device", "hyperparameters")
CLASS_COLUMNS = ("study", "loss", "family", "kind", "source", "fold", "seed", "class", "metric", "value")
LOWER_IS_BETTER = frozenset({"eer"})


def higher_is_better(metric: str) -> bool:
    """Say whether larger values of ``metric`` are better: all but the equal error rate."""
    return metric not in LOWER_IS_BETTER


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
    return check_columns(_read(path), CLASS_COLUMNS, place=str(store)) if path.exists() else None


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

    Runs (fold × seed) line up between the entries; a baseline that ran once stands beside every run.
    """
    finals = _finals(results, source)
    finals = finals[(finals["split"] == "test") & (finals["metric"] == metric) & (finals["status"] == "ok")]
    runs = _runs(finals)
    if per_class is not None:
        rows = _finals(per_class, source)
        rows = rows[rows["metric"] == metric]
        if rows["class"].nunique() > 1:
            return _by_class(rows, runs or _runs(rows))
    names = tuple(dict.fromkeys(finals["loss"]))
    values = np.full((len(names), max(len(runs), 1)), np.nan)
    for i, name in enumerate(names):
        values[i] = _line_up(finals[finals["loss"] == name], runs)
    return Scores(names, tuple(runs), values[:, :, None], "run")


def _finals(frame: pd.DataFrame, source: str) -> pd.DataFrame:
    return frame[((frame["kind"] == "final") & (frame["source"] == source)) | (frame["kind"] == "baseline")]


def _runs(frame: pd.DataFrame) -> list[tuple]:
    known = frame[(frame["kind"] == "final") & frame["fold"].notna() & frame["seed"].notna()]
    return sorted(set(zip(known["fold"], known["seed"])))


def _line_up(rows: pd.DataFrame, runs: list[tuple]) -> np.ndarray:
    """Return ``(R,)`` values in the order of ``runs``; one value without a matching run holds for all."""
    found = rows.groupby(["fold", "seed"], dropna=False)["value"].mean()
    if (rows["kind"] == "baseline").all() and len(found) == 1:
        return np.full(max(len(runs), 1), found.iloc[0])
    return np.array([found.get(run, np.nan) for run in runs] or [np.nan], dtype=float)


def _by_class(rows: pd.DataFrame, runs: list[tuple]) -> Scores:
    names, classes = tuple(dict.fromkeys(rows["loss"])), tuple(sorted(rows["class"].unique()))
    column = {run: i for i, run in enumerate(runs)}
    values = np.full((len(names), len(classes), max(len(runs), 1)), np.nan)
    place = {c: i for i, c in enumerate(classes)}
    for i, name in enumerate(names):
        mine = rows[rows["loss"] == name].groupby(["class", "fold", "seed"], dropna=False)["value"].mean()
        at = [(place[c], column.get((fold, seed))) for c, fold, seed in mine.index]
        once = (rows.loc[rows["loss"] == name, "kind"] == "baseline").all() and not mine.index.droplevel(
            0
        ).nunique() > 1
        for (c, run), value in zip(at, mine.to_numpy()):
            if once:
                values[i, c, :] = value
            elif run is not None:
                values[i, c, run] = value
    return Scores(names, classes, values, "class")
