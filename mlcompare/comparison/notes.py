"""What a reader should know before trusting a ranking's numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mlcompare.comparison.mean_squares import mean_squares
from mlcompare.comparison.rows import UNFINISHED
from mlcompare.comparison.sentences import left_out_sentences
from mlcompare.comparison.table import Scores

__all__ = ["edit_notes", "notes_of"]

FEW_CLASSES = 10


def notes_of(rows: Sequence[dict[str, Any]], scores: Scores, higher: bool) -> Iterator[str]:
    """Yield notes on the design first, then on what is missing, then on the search."""
    if scores.values.size:
        yield from _on_the_design(scores)
    losses = [row for row in rows if row["family"] != "baseline"]
    most = max((row["runs"] for row in losses), default=0)
    short = [row["loss"] for row in losses if 0 < row["runs"] < most or row["reason"] == UNFINISHED]
    if short:
        yield f"Final runs are missing ({', '.join(short)}): the study is unfinished; run it to its end."
    yield from (text for text in left_out_sentences(rows, 1.0 if higher else -1.0) if text.startswith("No loss"))
    failed = [row["loss"] for row in rows if row["failed_runs"]]
    if failed:
        yield f"Some final runs failed ({', '.join(failed)}): differences are over the runs that both losses have."
    flat = [row["loss"] for row in rows if row["ci_low"] is not None and row["ci_low"] == row["ci_high"]]
    if flat:
        yield f"All scores of {', '.join(flat)} are equal: an interval without width says nothing about new classes."
    edges = [f"{row['loss']} ({', '.join(row['at_bound'])})" for row in rows if row["at_bound"]]
    if edges:
        yield f"Selected on the bound of its range, search wider: {'; '.join(edges)}."


def edit_notes(edits: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what was changed of a study when sealed results were known.

    >>> edit = {"key": "search.trials", "old": 4, "new": 9, "when": "2026-01-02T10:00:00+00:00", "sealed_results": 32}
    >>> list(edit_notes([edit]))
    ['Changed on 2026-01-02, when 32 sealed results were known: search.trials (4 → 9).']
    """
    later: dict[tuple[str, int], list[str]] = {}
    for edit in edits:
        if edit["sealed_results"] and edit["key"] != "name":
            plain = isinstance(edit["old"], int | float) and isinstance(edit["new"], int | float)
            told = f"{edit['key']} ({edit['old']:g} → {edit['new']:g})" if plain else str(edit["key"])
            later.setdefault((str(edit["when"])[:10], int(edit["sealed_results"])), []).append(told)
    for (day, known), told_of in later.items():
        yield f"Changed on {day}, when {known} sealed results were known: {', '.join(told_of)}."


def _on_the_design(scores: Scores) -> Iterator[str]:
    classes, folds, runs = len(scores.classes), len(set(scores.folds.tolist())), len(scores.runs)
    if scores.unit == "run":
        yield (
            "No scores by test class for this metric: intervals and p-values count folds and seeds, which share their "
            "test classes, and so say too little about new classes."
        )
    if runs == 1:
        known = "test classes alone" if classes > 1 else "nothing"
        yield f"One final run of each loss: chance in training isn't known, and intervals and p-values count {known}."
    elif folds == 1:
        yield (
            "One fold: its seeds stand in for folds, but share their training classes, so intervals are too short for "
            "new training classes; use 3 folds or more."
        )
    elif folds == 2:
        yield (
            "Two folds: how much folds differ is hardly known, so intervals are long and tests careful (in simulation "
            "95 % intervals cover 92 % or more); use 3 folds or more."
        )
    if scores.unit == "class" and _nested(scores):
        yield "Each fold has test classes of its own, so intervals and p-values count folds."
    elif scores.unit == "class" and mean_squares(scores.values[0], scores.folds).parts == 2:
        yield (
            "Two outer folds: what one part's search found by luck is hardly known (in simulation 95 % intervals cover "
            "86 % or more); use 3 outer folds or more."
        )
    elif 1 < classes < FEW_CLASSES:
        yield (
            f"{classes} test classes are few: intervals and p-values trust that classes differ by about a normal "
            "distribution."
        )
    if scores.uneven:
        yield (
            "The metric isn't the plain mean over test classes, and their sizes aren't in the table (column "
            "`samples`): uncertainty is computed as if classes counted alike."
        )


def _nested(scores: Scores) -> bool:
    """Whether no class is tested in two folds."""
    known = ~np.isnan(scores.values).all(axis=0)  # (C, R)
    tested = np.stack(
        [known[:, scores.folds == fold].any(axis=1) for fold in np.unique(scores.folds)], axis=1
    )  # (C, F)
    return tested.shape[1] > 1 and bool((tested.sum(axis=1) <= 1).all())
