"""The comparison of a study: one row for each loss or baseline, and the answers around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlcompare.comparison.family import FamilyAnswer, family_answer
from mlcompare.comparison.given import complete_tables
from mlcompare.comparison.notes import edit_notes, notes_of
from mlcompare.comparison.pairwise import indistinguishable, pair, pairs_of, pairwise, with_baselines
from mlcompare.comparison.past_best import past_best_notes
from mlcompare.comparison.power import Separation, runs_to_separate
from mlcompare.comparison.random_effects import bounded_intervals, means
from mlcompare.comparison.rows import entry_rows
from mlcompare.comparison.search_luck import luck_by_loss, luck_margin, luck_note
from mlcompare.comparison.shown import ranking_html, ranking_text
from mlcompare.comparison.still_rising import curve_fields, learning_curves, rising_notes
from mlcompare.comparison.stored import load_spaces, load_study, read_store
from mlcompare.comparison.table import Scores, bounds, choose_metric, higher_is_better, score_array
from mlcompare.comparison.trials import trial_scores
from mlcompare.comparison.tunability import tunability
from mlcompare.errors import DataError, InvalidValueError

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True)
class Comparison:
    """What a study found; ``print`` shows the ranking as plain text.

    Attributes:
        study, metric: whose results, and which metric.
        best: the loss with the best mean on the sealed test classes; None if no loss has a score.
        table: one row for each loss and baseline, best first; None where a field has no meaning (see :func:`compare`).
        pairwise: one row for each pair of losses, and of a loss and a baseline; corrected among their own kind, so that
            more baselines don't blur the comparison of losses.
        tunability: one row for each loss: tuned against default.
        family: margin against metric losses; None when a family has no score.
        separation: loss → what it would take to tell it from the best, for those that aren't told apart.
        unit: "class" or "run": whether there are scores by test class, or only by run.
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

    def __str__(self) -> str:
        return ranking_text(self)

    def _repr_html_(self) -> str:
        """The ranking and the family answer, where a notebook shows the comparison."""
        return ranking_html(self)


def compare(
    results: pd.DataFrame | str | Path, per_class: pd.DataFrame | None = None, *, metric: str | None = None,
    confidence: float = 0.95, objective: str | None = None, spaces: Mapping[str, Mapping] | None = None,
) -> Comparison:  # fmt: skip
    """Compare the tuned losses of one study on its sealed test classes.

    Args:
        results: a store, which brings all the rest; or a results table in long form, a row for each score.
        per_class: scores by test class (``per_class.parquet``). Without it, only folds and seeds count as sources of
            chance; they share their test classes, so it says too little about new classes: a note says so.
        metric: by default the study's objective, the metric of its trials.
        objective: the metric by which trials were selected on validation; by default that of the trials.
        spaces: loss → name → ``{"low", "high", "log"}``, the ranges searched, for ``at_bound``; with ``minimum`` and
            ``maximum``, suggested ranges end there.

    **A table of your own** needs the columns ``loss``, ``metric``, ``value`` and one that says which run a score is
    from: ``run``, or ``fold`` and ``seed`` (seeds of one fold share its training classes). Optional are

    - ``class``: the test class that the score is of; a row without one is the run's score over all classes
    - ``samples``: how many samples that class has, where the metric is a mean over samples
    - ``family``: ``margin``, ``metric`` (then the families are compared) or ``baseline``
    - ``kind``: ``final`` (what is compared; the default), ``trial`` (the search) or ``baseline``
    - ``source``: ``selected`` (the default) or ``default``, the untuned setting; a trial's has any other name
    - ``split``: ``test`` (the default), or ``validation`` for trials
    - ``status``: ``ok``, ``stopped`` (by a race), anything else for a failed run, whose ``reason`` is told
    - ``trial``, ``seconds``, ``peak_memory``, ``device``, ``hyperparameters`` (JSON), ``study``, ``step``

    >>> scores = {"triplet": [0.61, 0.60, 0.63, 0.58], "arcface": [0.71, 0.70, 0.74, 0.69]}
    >>> rows = [(loss, run, "recall_at_1", value) for loss, mine in scores.items() for run, value in enumerate(mine)]
    >>> found = compare(pd.DataFrame(rows, columns=["loss", "run", "metric", "value"]))
    >>> print(found)  # doctest: +ELLIPSIS
    results: recall_at_1 on the sealed test classes
      loss     family   mean  95 % interval  untuned  to best  95 % interval, all pairs  p (Holm)
    ★ arcface  –       0.710  0.674 – 0.743        –
      triplet  –       0.605  0.571 – 0.638        –   -0.105           -0.114 – -0.096    <0.001
    ★ best  ≈ not told apart from it. ...
    The best tuned loss is arcface: recall_at_1 0.710 (95 % interval 0.674 to 0.743); it is told apart from 1 other.
    Note: No scores by test class for this metric: ...

    Returns:
        A :class:`Comparison`. Its table has the fields ``loss, family, metric``; ``mean`` over folds of the successful
        final runs, with the interval ``ci_low, ci_high`` over classes, folds and seeds; ``default_mean`` of the untuned
        setting; ``difference_to_best`` (mean minus the best's, on their common runs) with ``difference_low,
        difference_high``, which hold for all pairs of losses together (of a baseline: for all pairs of a loss and a
        baseline), and ``p_value``, Holm-corrected over the same pairs;
        ``indistinguishable_from_best``; the selected ``hyperparameters``; ``at_bound``, names, and
        ``suggested_ranges``; ``trials``; ``seconds`` of training in all; ``runs, failed_trials, failed_runs,
        peak_memory, reason``; the selected setting's learning ``curve`` and whether it was ``still_rising``
        (:func:`~mlcompare.comparison.still_rising.still_rising`), or how far it was ``past_best``
        (:func:`~mlcompare.comparison.past_best.decline`); ``search_luck``, how far another search of as many trials may
        leave the loss (:func:`~mlcompare.comparison.search_luck.search_luck`; None of another metric than the tuned
        one, and in nested studies, whose intervals count it), and in ``pairwise`` the ``search_margin`` that it gives a
        difference. A baseline is compared, but never the best. Nor is a loss that failed in more than half of its final
        runs.

    Raises:
        DataError: an empty table, a missing column, several studies, a kind that isn't known, or no measured metric.
        StoreError: the store is missing, unfinished or damaged.
        UnknownNameError: a metric that wasn't measured, or a column that isn't known.
    """
    edits: Sequence[Mapping[str, Any]] = ()
    if isinstance(results, str | Path):
        spaces = load_spaces(results) if spaces is None else spaces
        edits = load_study(results).get("edits", ())
        results, stored, aim = read_store(results)
        per_class, objective = stored if per_class is None else per_class, objective or aim
        metric = metric or objective
    elif not isinstance(results, pd.DataFrame):
        cure = 'give a store\'s folder, or pandas.DataFrame(rows, columns=["loss", "run", "metric", "value"])'
        rule = "results are a store or a table"
        raise DataError(rule, value=type(results).__name__, cure=cure, place="compare: results")
    results, per_class = complete_tables(results, per_class)
    _check(results, confidence)
    metric = choose_metric(results, metric)
    higher = higher_is_better(metric)
    scores = score_array(results, per_class, metric, source="selected")
    rows = _rows(results, scores, metric, spaces or {}, confidence)
    best = _best(rows, higher)
    losses = [row["loss"] for row in rows if row["family"] != "baseline" and row["mean"] is not None]
    baselines = [row["loss"] for row in rows if row["family"] == "baseline" and row["mean"] is not None]
    options: dict[str, Any] = {"higher": higher, "confidence": confidence}
    of_losses = pairwise(scores, pairs_of(losses), **options)
    of_baselines = pairwise(scores, with_baselines(losses, baselines), **options)
    pairs = pd.concat([part for part in (of_losses, of_baselines) if len(part)] or [of_losses], ignore_index=True)
    _add_differences(rows, pairs, best, 1.0 - confidence)
    untuned = score_array(results, per_class, metric, source="default")
    gains = tunability(scores, untuned, losses, confidence=confidence)
    curves = learning_curves(results)
    search = _search(results, objective)
    told = search is not None and search[0] == metric and not _searched_in_parts(results)
    luck = luck_by_loss(search[1], higher=higher) if search and told else {}
    for row in rows:
        row |= {**curve_fields(curves.get(row["loss"])), "search_luck": luck.get(row["loss"])}
    pairs["search_margin"] = [luck_margin(luck.get(a), luck.get(b), confidence) for a, b in zip(pairs["a"], pairs["b"])]
    rows.sort(key=lambda row: _order(row, higher))
    validation = _ratings_on_validation(*search) if search else {}
    family = family_answer(rows, pairs, scores, validation, best=best, higher=higher, confidence=confidence)
    fell = past_best_notes({loss: curve.past_best for loss, curve in curves.items()})
    lucky = luck_note(rows, best, confidence)
    notes = (
        *notes_of(rows, scores, higher), *([lucky] if lucky else ()), *rising_notes(curves, best), *fell,
        *edit_notes(edits),
    )  # fmt: skip
    said = family.sentence if family else ""
    return Comparison(
        study=str(results["study"].iloc[0]), metric=metric, best=best, table=pd.DataFrame(rows, dtype=object),
        pairwise=pairs, tunability=gains, family=family,
        separation=_separation(rows, scores, best, len(of_losses), 1.0 - confidence), unit=scores.unit,
        confidence=confidence, notes=tuple(note for note in notes if note not in said),
    )  # fmt: skip


def _check(results: pd.DataFrame, confidence: float) -> None:
    studies = results["study"].dropna().unique().tolist()
    if len(studies) > 1:
        raise DataError(
            "one study is compared at a time", value=", ".join(map(str, studies)), place="compare: results",
            cure="filter by `study`; critical_difference() compares over several",
        )  # fmt: skip
    if not 0.0 < confidence < 1.0:
        raise InvalidValueError(
            "confidence must be in (0, 1)", value=str(confidence), cure="give 0.95", place="compare"
        )


def _rows(results: pd.DataFrame, scores: Scores, metric: str, spaces: Mapping, confidence: float) -> list[dict]:
    """The rows of the ranking with their means and intervals, in the order of the results table."""
    rows = entry_rows(results, metric, spaces)
    scored = [row for row in rows if row["mean"] is not None and np.isfinite(scores.of(row["loss"])).any()]
    found = means([scores.of(row["loss"]) for row in scored], scores.folds)
    for row, mean, low, high in zip(scored, found.mean, *bounded_intervals(found, confidence, bounds(metric))):
        row["mean"] = float(mean)
        if not np.isnan(low):
            row["ci_low"], row["ci_high"] = float(low), float(high)
    return rows


def _best(rows: list[dict], higher: bool) -> str | None:
    """The loss of the best mean among those of which at least half of the final runs succeeded."""
    sound = [r for r in rows if r["family"] != "baseline" and r["mean"] is not None and r["runs"] >= r["failed_runs"]]
    sign = 1.0 if higher else -1.0
    return max(sound, key=lambda row: sign * row["mean"])["loss"] if sound else None


def _add_differences(rows: list[dict], pairs: pd.DataFrame, best: str | None, level: float) -> None:
    names = [row["loss"] for row in rows if row["mean"] is not None]
    equals = indistinguishable(pairs, best, names, level) if best else []
    for row in rows:
        if row["loss"] == best:
            row["difference_to_best"] = row["difference_low"] = row["difference_high"] = 0.0
            row["indistinguishable_from_best"] = True
            continue
        found = pair(pairs, row["loss"], best) if best else None
        if found is None or np.isnan(found["difference"]):
            continue  # nothing in common: nothing can be said
        row["difference_to_best"] = float(found["difference"])
        row["indistinguishable_from_best"] = row["loss"] in equals
        if not np.isnan(found["p_holm"]):
            row["difference_low"], row["difference_high"] = (
                float(found["simultaneous_low"]), float(found["simultaneous_high"])
            )  # fmt: skip
            row["p_value"] = float(found["p_holm"])


def _search(results: pd.DataFrame, objective: str | None) -> tuple[str, pd.DataFrame] | None:
    """What was tuned and its trials; None where there was no search."""
    if not (results["kind"] == "trial").any():
        return None
    objective = choose_metric(results, objective)
    if not ((results["kind"] == "trial") & (results["metric"] == objective)).any():
        return None
    return objective, trial_scores(results, objective)


def _searched_in_parts(results: pd.DataFrame) -> bool:
    """Whether trials differ in their folds: each part of a nested study has its search, whose luck intervals count."""
    trials = results[results["kind"] == "trial"]
    of_each = trials.groupby(["loss", "trial"])["fold"].nunique().max()
    return bool(trials.groupby("loss")["fold"].nunique().max() > of_each)


def _ratings_on_validation(objective: str, trials: pd.DataFrame) -> dict[str, float]:
    """How good each loss's best trial was on validation, larger is better."""
    values = trials.groupby("loss")["value"]
    return values.max().to_dict() if higher_is_better(objective) else (-values.min()).to_dict()


def _separation(rows: list[dict], scores: Scores, best: str | None, pairs: int, level: float) -> dict[str, Separation]:
    """What it would take to tell losses from the best, at the level that Holm asks of the smallest p-value."""
    equals = [row["loss"] for row in rows if row["indistinguishable_from_best"] and row["family"] != "baseline"]
    return {
        name: runs_to_separate(scores.of(best) - scores.of(name), scores.folds, level=level / max(pairs, 1))
        for name in equals if best and name != best
    }  # fmt: skip


def _order(row: dict, higher: bool) -> tuple:
    if row["mean"] is None:
        return (1, 0.0)
    return (0, -row["mean"] if higher else row["mean"])
