"""Read the results table, check it, and turn it into arrays ``losses × classes × runs``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mlcompare.errors import DataError, StoreError, UnknownNameError, did_you_mean
from mlcompare.metrics import bounds, higher_is_better

__all__ = [
    "NOT_FAILED",
    "Scores",
    "bounds",
    "choose_metric",
    "higher_is_better",
    "load_per_class",
    "load_results",
    "score_array",
]

ROUNDING, CLOSE, VISIBLE = 1e-12, 1e-6, 5e-4  # of a metric: as good as equal; equal but for float32; seen in 3 digits
RESULT_COLUMNS: tuple[str, ...] = ("study", "loss", "family", "kind", "source", "trial", "fold", "seed", "split")
NOT_FAILED = ("ok", "stopped")  # a race stops what is behind
RESULT_COLUMNS += ("metric", "value", "status", "reason", "seconds", "peak_memory", "device", "hyperparameters")
CLASS_COLUMNS = ("study", "loss", "family", "kind", "source", "fold", "seed", "class", "metric", "value")


def load_results(store) -> pd.DataFrame:
    """Read ``<store>/results.parquet``.

    Raises:
        StoreError: there is no such file, or it can't be read.
        DataError: it is empty, or lacks a column.
    """
    return check_columns(_read(Path(store).expanduser() / "results.parquet"), RESULT_COLUMNS, place=str(store))


def load_per_class(store) -> pd.DataFrame | None:
    """Read ``<store>/per_class.parquet``; None when the study left none (its metric has no value for one class)."""
    path = Path(store).expanduser() / "per_class.parquet"
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
        classes: the ``C`` test classes; empty when there are no scores by class.
        runs: ``(fold, seed)`` of each of the ``R`` runs.
        values: ``(L, C, R)``, NaN where a run is missing or failed; ``(L, 1, R)`` without scores by class. The mean
            over classes is the metric as the results table has it.
        unit: ``"class"`` or ``"run"``: what there are scores of.
        uneven: whether classes count alike here although they don't in the metric (their sizes aren't known).
        limits: the least and the greatest value that the metric can have.
    """

    names: tuple[str, ...]
    classes: tuple
    runs: tuple[tuple[int, int], ...]
    values: np.ndarray
    unit: str
    uneven: bool = False
    limits: tuple[float, float] = (-math.inf, math.inf)

    @property
    def largest_difference(self) -> float:
        """How far two scores can lie apart; infinite where some lie outside the limits (percentages, say)."""
        low, high = self.limits
        known = self.values[~np.isnan(self.values)]
        return high - low if known.size and low <= known.min() and known.max() <= high else math.inf

    @property
    def folds(self) -> np.ndarray:
        """The fold ``(R,)`` of each run."""
        return np.array([fold for fold, _ in self.runs], dtype=int)

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
    both = _finals(results, "selected", "default")
    finals = _finals(results, source)
    if per_class is not None:
        by_class = _finals(per_class[per_class["metric"] == metric], source)
        if by_class["class"].nunique() > 1:
            return _by_class(by_class, finals, _runs(both if len(both) else by_class), bounds(metric))
    names, runs = tuple(finals["loss"].unique()), _runs(both)
    return Scores(names, (), runs, _filled(finals, names, None, runs), "run", limits=bounds(metric))


def _finals(frame: pd.DataFrame, *sources: str) -> pd.DataFrame:
    frame = frame[((frame["kind"] == "final") & frame["source"].isin(sources)) | (frame["kind"] == "baseline")]
    keys = {name: frame[name].astype("Int64").fillna(-1).to_numpy(dtype=np.int64) for name in ("fold", "seed")}
    return frame.assign(**keys)


def _runs(frame: pd.DataFrame) -> tuple[tuple[int, int], ...]:
    finals = frame[frame["kind"] == "final"]
    keys = (finals if len(finals) else frame)[["fold", "seed"]].drop_duplicates()
    return tuple(sorted((int(fold), int(seed)) for fold, seed in keys.to_numpy()))


def _filled(frame: pd.DataFrame, names: tuple, classes: tuple | None, runs: tuple) -> np.ndarray:
    """The values ``(L, C, R)`` of ``frame``, means where there are several, NaN where there is none."""
    loss = pd.Index(names).get_indexer(frame["loss"])
    label = np.zeros(len(frame), dtype=int) if classes is None else pd.Index(classes).get_indexer(frame["class"])
    keys = list(zip(frame["fold"].tolist(), frame["seed"].tolist()))
    values = frame["value"].to_numpy(dtype=float, na_value=np.nan)
    size = 1 if classes is None else len(classes)
    array = _cell_means(loss, label, keys, values, (len(names), size, len(runs)), runs)
    for number in np.unique(loss[(frame["kind"] == "baseline").to_numpy(dtype=bool, na_value=False)]):
        mine = np.flatnonzero(loss == number)
        array[number] = _beside(label[mine], [keys[row] for row in mine], values[mine], size, runs)
    return array


def _cell_means(loss, label, keys: list, values: np.ndarray, size: tuple[int, int, int], runs: tuple) -> np.ndarray:
    """The mean of the values in each cell ``(L, C, R)``."""
    number = {run: place for place, run in enumerate(runs)}
    run = np.array([number.get(key, -1) for key in keys], dtype=int)
    known = (run >= 0) & ~np.isnan(values)
    flat = np.ravel_multi_index((loss[known], label[known], run[known]), size) if known.any() else np.zeros(0, int)
    sums = np.bincount(flat, weights=values[known], minlength=math.prod(size))
    counts = np.bincount(flat, minlength=math.prod(size))
    with np.errstate(invalid="ignore"):
        return (sums / counts).reshape(size)  # 0 / 0 is NaN


def _beside(label: np.ndarray, keys: list, values: np.ndarray, classes: int, runs: tuple) -> np.ndarray:
    """The scores ``(C, R)`` of a baseline, each beside the runs it stands for."""
    own = tuple(sorted(set(keys)))
    of_own = _cell_means(np.zeros(len(label), dtype=int), label, keys, values, (1, classes, len(own)), own)[0]
    array = np.full((classes, len(runs)), np.nan)
    for r, run in enumerate(runs):
        same_fold = [other for other in own if other[0] == run[0]]
        only = [run] if run in own else same_fold if len(same_fold) == 1 else list(own)
        if len(only) == 1:
            array[:, r] = of_own[:, own.index(only[0])]
    return array


def _by_class(rows: pd.DataFrame, finals: pd.DataFrame, runs: tuple, limits: tuple[float, float]) -> Scores:
    names, classes = tuple(rows["loss"].unique()), tuple(sorted(rows["class"].unique()))
    values = _filled(rows, names, classes, runs)
    reported = _filled(finals[finals["loss"].isin(names)], names, None, runs)[:, 0]  # (L, R)
    sizes = rows.groupby("class")["samples"].max().reindex(classes).to_numpy(dtype=float) if "samples" in rows else None
    values, uneven = _as_reported(values, reported, sizes)
    return Scores(names, classes, runs, values, "class", uneven, limits)


def _as_reported(values: np.ndarray, reported: np.ndarray, sizes: np.ndarray | None) -> tuple[np.ndarray, bool]:
    """Turn scores by class ``(L, C, R)`` into such whose plain means over classes are the metric ``(L, R)``.

    A metric that is a mean over samples weighs classes by their ``sizes (C,)``. With weights ``w``, of sum 1, its
    variance from classes is ``Σ w²`` times that of a class, not ``1 / C`` times. So the classes' deviations in a run
    are stretched by ``√(C Σ w²)`` around the run's metric. Where sizes aren't known, or the metric isn't such a mean,
    they stay as they are, as if classes counted alike. Also says whether that matters.
    """
    known = ~np.isnan(values)
    scored = known.any(axis=1)  # (L, R)
    plain = np.where(known, values, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)  # (L, R)
    metric = np.where(np.isnan(reported) | ~scored, plain, reported)
    gap = np.abs(metric - plain)
    if gap.max(initial=0.0) < ROUNDING:
        return values, False
    stretch, uneven = 1.0, bool(gap.max() > VISIBLE)
    if sizes is not None and np.isfinite(sizes).all() and sizes.sum() > 0:
        weights = sizes / sizes.sum()
        weighted = np.einsum("c,lcr->lr", weights, values)
        if not (np.abs(weighted - metric)[scored] > CLOSE).any():
            stretch, uneven = math.sqrt(len(sizes) * float(weights @ weights)), False
    return metric[:, None, :] + stretch * (values - plain[:, None, :]), uneven
