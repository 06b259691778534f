"""The comparison of a study: one row for each loss or baseline, and the answers around it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlcompare.comparison.bootstrap import bootstrap_means, interval
from mlcompare.comparison.effects import effects
from mlcompare.comparison.family import FamilyAnswer, family_answer
from mlcompare.comparison.pairwise import indistinguishable, pairs_of, pairwise
from mlcompare.comparison.permutation import enough_flips
from mlcompare.comparison.power import Separation, runs_to_separate
from mlcompare.comparison.rows import UNFINISHED, entry_row
from mlcompare.comparison.shown import ranking_html
from mlcompare.comparison.still_rising import curve_fields, learning_curves, rising_notes
from mlcompare.comparison.stored import load_spaces, read_store
from mlcompare.comparison.table import (
    CLASS_COLUMNS,
    RESULT_COLUMNS,
    Scores,
    bounds,
    check_columns,
    choose_metric,
    higher_is_better,
    score_array,
)
from mlcompare.comparison.trials import trial_scores
from mlcompare.comparison.tunability import tunability
from mlcompare.errors import DataError, InvalidValueError

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True)
class Comparison:
    """What a study found.

    Attributes:
        study, metric: whose results, and which metric.
        best: the loss with the best mean on the sealed test classes; None if no loss has a score.
        table: one row for each loss and baseline, best first; None where a field has no meaning (see :func:`compare`).
        pairwise: one row for each pair of losses, and of a loss and a baseline.
        tunability: one row for each loss: tuned against default.
        family: margin against metric losses; None when a family has no score.
        separation: loss → what it would take to separate it from the best, for those that aren't told apart.
        unit: "class" or "run": what the p-values count.
        confidence: of all intervals; tests reject at ``1 - confidence``.
        notes: what a reader should know before trusting the numbers.
    """

    study: str
    metric: str
    best: str | None
    table: pd.DataFrame
    pairwise: pd.DataFrame
    tunability: pd.DataFrame
    family: FamilyAnswer | None
    separation: dict[str, Separation]
    unit: str
    confidence: float
    notes: tuple[str, ...] = field(default=())

    def records(self) -> list[dict]:
        """Return the table as plain dictionaries, ready for JSON."""
        return self.table.to_dict("records")

    def _repr_html_(self) -> str:
        """The ranking and the family answer, where a notebook shows the comparison."""
        return ranking_html(self)


def compare(
    results: pd.DataFrame | str | Path, per_class: pd.DataFrame | None = None, *, metric: str | None = None,
    seed: int = 0, confidence: float = 0.95, n_resamples: int = 10_000, spaces: Mapping[str, Mapping] | None = None,
) -> Comparison:  # fmt: skip
    """Compare the tuned losses of one study on its sealed test classes.

    Args:
        results: a store, which brings all the rest; or the results table (``results.parquet``), long form.
        per_class: scores by test class (``per_class.parquet``). Without it, runs (fold × seed) are the unit of all
            statistics; they share their test classes, so it says too little about new classes: a note says so.
        metric: by default the study's objective, the metric of its trials.
        seed: of the bootstrap and the sign flips.
        spaces: loss → name → ``{"low", "high", "log"}``, the ranges searched, for ``at_bound``.

    The table's fields: ``loss, family, metric``; ``mean`` over the successful final runs, with its bootstrap interval
    ``ci_low, ci_high`` over classes and runs; ``default_mean`` of the untuned setting; ``difference_to_best`` (mean
    minus the best's, on their common runs) with ``difference_low, difference_high``; ``p_value`` of that difference,
    sign-flip by test class, Holm-corrected over all pairs; ``indistinguishable_from_best``; the selected
    ``hyperparameters``; ``at_bound``, names, and ``suggested_ranges``; ``trials``; ``seconds`` of training in all;
    ``runs, failed_trials, failed_runs, peak_memory, reason``; the selected setting's learning ``curve`` and whether it
    was ``still_rising`` (:func:`~mlcompare.comparison.still_rising.still_rising`). A baseline is compared, but never
    the best. Nor is a loss that failed in more than half of its final runs.

    Raises:
        DataError: an empty table, a missing column, several studies, or no measured metric.
        StoreError: the store is missing, unfinished or damaged.
        UnknownNameError: a metric that wasn't measured.
    """
    if isinstance(results, str | Path):
        spaces = load_spaces(results) if spaces is None else spaces
        results, stored, objective = read_store(results)
        per_class, metric = stored if per_class is None else per_class, metric or objective
    per_class = None if per_class is None or per_class.empty else per_class
    _check(results, per_class, confidence, n_resamples)
    metric = choose_metric(results, metric)
    higher, generator = higher_is_better(metric), np.random.default_rng(seed)
    options: dict[str, Any] = {"confidence": confidence, "n_resamples": n_resamples}
    scores = score_array(results, per_class, metric, source="selected")
    names = dict.fromkeys(results["loss"].dropna())
    rows = [entry_row(results, name, metric, (spaces or {}).get(name, {})) for name in names]
    _add_intervals(rows, scores, generator, bounds(metric), **options)
    best = _best(rows, higher)
    losses = [row["loss"] for row in rows if row["family"] != "baseline" and row["mean"] is not None]
    baselines = [row["loss"] for row in rows if row["family"] == "baseline" and row["mean"] is not None]
    pairs = pairwise(scores, pairs_of(losses, baselines), generator, higher=higher, **options)
    by_run = score_array(results, None, metric, source="selected")
    _add_differences(rows, pairs, by_run, best, 1.0 - confidence)
    untuned = score_array(results, per_class, metric, source="default")
    gains = tunability(scores, untuned, losses, generator, **options)
    curves = learning_curves(results)
    for row in rows:
        row |= curve_fields(curves.get(row["loss"]))
    families = {row["loss"]: row["family"] for row in rows}
    validation = _selected_on_validation(results, metric, higher)
    family = family_answer(scores, families, validation, generator, metric=metric, higher=higher, **options)
    rows.sort(key=lambda row: _order(row, higher))
    equals = [row["loss"] for row in rows if row["indistinguishable_from_best"] and row["loss"] != best]
    first_step = (1.0 - confidence) / max(len(pairs), 1)  # what Holm's correction asks of the smallest p-value
    best_scores = scores.of(best) if best else None
    separation = {name: runs_to_separate(best_scores - scores.of(name), level=first_step) for name in equals if best}
    return Comparison(
        study=str(results["study"].iloc[0]), metric=metric, best=best, table=pd.DataFrame(rows, dtype=object),
        pairwise=pairs, tunability=gains, family=family, separation=separation, unit=scores.unit,
        confidence=confidence,
        notes=(*_notes(rows, scores, pairs, 1.0 - confidence, metric, n_resamples), *rising_notes(curves, best)),
    )  # fmt: skip


def _check(results, per_class, confidence: float, n_resamples: int) -> None:
    check_columns(results, RESULT_COLUMNS, place="compare: results")
    if per_class is not None:
        check_columns(per_class, CLASS_COLUMNS, place="compare: per_class")
    studies = results["study"].dropna().unique().tolist()
    if len(studies) > 1:
        raise DataError(
            "one study is compared at a time", value=", ".join(map(str, studies)), place="compare: results",
            cure="filter by `study`; critical_difference() compares over several",
        )  # fmt: skip
    if not 0.0 < confidence < 1.0 or n_resamples < 100:
        raise InvalidValueError(
            "confidence must be in (0, 1) and n_resamples at least 100", value=f"{confidence}, {n_resamples}",
            place="compare",
        )  # fmt: skip


def _add_intervals(
    rows: list[dict], scores: Scores, generator, limits: tuple[float, float], *, confidence: float, n_resamples: int
) -> None:
    """Fill in ``ci_low, ci_high``: the bootstrap's deviations around the mean of the results table.

    Where classes differ in size, the mean over samples isn't the mean over classes; the interval belongs to the former,
    and ends where the metric does.
    """
    scored = [row for row in rows if row["mean"] is not None and np.isfinite(scores.of(row["loss"])).any()]
    if not scored:
        return
    parts = effects([scores.of(row["loss"]) for row in scored])
    low, high = interval(bootstrap_means(parts, generator, n_resamples=n_resamples), confidence)
    for row, mean, below, above in zip(scored, parts.mean, low, high):
        ends = (row["mean"] + float(below - mean), row["mean"] + float(above - mean))
        if limits[0] <= row["mean"] <= limits[1]:  # percentages, say, are left as they are
            ends = (max(ends[0], limits[0]), min(ends[1], limits[1]))
        row["ci_low"], row["ci_high"] = ends


def _best(rows: list[dict], higher: bool) -> str | None:
    """The loss of the best mean among those of which at least half of the final runs succeeded."""
    sound = [r for r in rows if r["family"] != "baseline" and r["mean"] is not None and r["runs"] >= r["failed_runs"]]
    sign = 1.0 if higher else -1.0
    return max(sound, key=lambda row: sign * row["mean"])["loss"] if sound else None


def _add_differences(rows: list[dict], pairs: pd.DataFrame, by_run: Scores, best: str | None, level: float) -> None:
    names = [row["loss"] for row in rows if row["mean"] is not None]
    equals = indistinguishable(pairs, best, names, level) if best else []
    for row in rows:
        if row["loss"] == best:
            row["difference_to_best"] = row["difference_low"] = row["difference_high"] = 0.0
            row["indistinguishable_from_best"] = True
        pair = pairs[pairs["a"].isin({best, row["loss"]}) & pairs["b"].isin({best, row["loss"]})]
        if best is None or row["loss"] == best or pair.empty or np.isnan(pair["difference"].iloc[0]):
            continue  # itself, or nothing in common: nothing can be said
        found = pair.iloc[0]
        sign = 1.0 if found["a"] == row["loss"] else -1.0
        ends = sorted((sign * found["ci_low"], sign * found["ci_high"]))
        difference = float(np.nanmean(by_run.of(row["loss"]) - by_run.of(best)))
        shift = difference - sign * found["difference"]  # as in _add_intervals
        row["difference_to_best"] = difference
        row["difference_low"], row["difference_high"] = (float(end + shift) for end in ends)
        row["p_value"], row["indistinguishable_from_best"] = float(found["p_holm"]), row["loss"] in equals


def _selected_on_validation(results: pd.DataFrame, metric: str, higher: bool) -> dict[str, float]:
    """The validation score of each loss's best trial."""
    if not ((results["kind"] == "trial") & (results["metric"] == metric)).any():
        return {}
    values = trial_scores(results, metric).groupby("loss")["value"]
    best = values.max() if higher else values.min()
    return {str(loss): float(value) for loss, value in best.items()}


def _order(row: dict, higher: bool) -> tuple:
    if row["mean"] is None:
        return (1, 0.0)
    return (0, -row["mean"] if higher else row["mean"])


def _notes(
    rows: list[dict], scores: Scores, pairs: pd.DataFrame, level: float, metric: str, n_resamples: int
) -> list[str]:
    notes = []
    if scores.unit == "run":
        notes.append(
            f"No scores by test class for {metric}: intervals and p-values count runs (fold × seed), which share their "
            "test classes, and so say too little about new classes."
        )
    units = len(scores.units)
    flips = enough_flips(len(pairs), level, n_resamples)
    floor = max(2.0 ** (1 - units), 1 / (1 + flips)) * max(len(pairs), 1)
    if units and floor > level:
        kind = "test classes" if scores.unit == "class" else "runs"
        notes.append(
            f"With {units} {kind} and {len(pairs)} comparisons no corrected p-value can fall to {level:.2g}: "
            "indistinguishable means untested here."
        )
    losses = [row for row in rows if row["family"] != "baseline"]
    most = max((row["runs"] for row in losses), default=0)
    short = [row["loss"] for row in losses if 0 < row["runs"] < most or row["reason"] == UNFINISHED]
    if short:
        notes.append(f"Final runs are missing ({', '.join(short)}): the study is unfinished; run it to its end.")
    sign = 1.0 if higher_is_better(metric) else -1.0
    top = max((sign * row["mean"] for row in losses if row["mean"] is not None), default=math.inf)
    better = [r["loss"] for r in rows if r["family"] == "baseline" and r["mean"] is not None and sign * r["mean"] > top]
    if better:
        notes.append(f"No loss scores as high as a baseline: {', '.join(better)}.")
    failed = [row["loss"] for row in rows if row["failed_runs"]]
    if failed:
        notes.append(
            f"Some final runs failed ({', '.join(failed)}): differences are over the runs that both losses have."
        )
    edges = [f"{row['loss']} ({', '.join(row['at_bound'])})" for row in rows if row["at_bound"]]
    if edges:
        notes.append(f"Selected on the bound of its range, search wider: {'; '.join(edges)}.")
    return notes
