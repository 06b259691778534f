"""Whom a challenge is about: the best margin and the best metric loss of a study, with their selected settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlcompare.comparison import Comparison, Contrast, contrast, score_array
from mlcompare.comparison.stored import load_study, read_store
from mlcompare.errors import StoreError
from mlcompare.losses.compose import LossEntry
from mlcompare.metrics import higher_is_better
from mlcompare.study.config import StudyConfig, validated
from mlcompare.study.journal import JOURNAL, read_journal
from mlcompare.study.nested import refuse_nested
from mlcompare.study.spaces import plan_losses

__all__ = ["Leaders", "difference_between", "find_leaders", "fixed_entry"]


@dataclass(frozen=True)
class Leaders:
    """Two losses of a study that a verdict is about.

    Attributes:
        names: the loss that is ahead, named on validation where the study could, and the one it is compared with: the
            best of each family, or, in a study of one family, the two best.
        entries, settings: what they are, and their selected hyperparameters with those of the training.
        original: how much better the first is on the sealed test classes.
        seconds: what the final trainings of both took.
    """

    config: StudyConfig
    names: tuple[str, str]
    entries: Mapping[str, LossEntry]
    settings: Mapping[str, Mapping[str, Any]]
    original: Contrast
    seconds: float


def find_leaders(store: Path, comparison: Comparison) -> Leaders:
    """Return the leaders of a finished study, given its comparison.

    Raises:
        StoreError: fewer than two losses have a result.
    """
    place = str(store)
    known = load_study(store)
    if "study" not in known:
        cure = "check the path, or run a study first"
        raise StoreError("a store holds study.json", value="none there", cure=cure, place=place)
    config = validated(known["study"], place)
    refuse_nested(store, config, "challenge")
    ranked = [row["loss"] for row in comparison.records() if row["family"] != "baseline" and row["mean"] is not None]
    if len(ranked) < 2:
        cure = "run a study of two losses or more to its end"
        raise StoreError("a challenge needs two losses with results", value=str(len(ranked)), cure=cure, place=place)
    family = comparison.family
    pair = (family.best_margin, family.best_metric) if family else (ranked[0], ranked[1])
    names = tuple(sorted(pair, key=ranked.index))
    records = read_journal(store / JOURNAL)
    settings, seconds = {}, 0.0
    for name in names:
        opening = [r for r in records if r["type"] == "opening" and r["loss"] == name][-1]
        trial = opening["settings"]["selected"]
        finals = [r for r in records if r["type"] == "job" and r["kind"] == "final"]
        mine = [r for r in finals if (r["loss"], r["trial"]) == (name, trial)]
        settings[name] = mine[0]["hyperparameters"]
        seconds += sum(r["seconds"] for r in mine)
    first, second = names
    entries = {name: plan.entry for name, plan in plan_losses(config, place).items() if name in names}
    return Leaders(config, (first, second), entries, settings, difference_between(store, first, second), seconds)


def difference_between(store: Path, first: str, second: str) -> Contrast:
    """Return how much better the first loss is on a store's sealed test classes; NaN where one has no score."""
    results, per_class, metric = read_store(store)
    scores = score_array(results, per_class, str(metric), source="selected")
    sign = 1.0 if higher_is_better(str(metric)) else -1.0
    differences = sign * (scores.of(first) - scores.of(second))
    if np.isnan(differences).all():
        return Contrast(float("nan"), float("nan"), float("nan"), float("nan"))
    return contrast(differences, scores.folds, limit=scores.largest_difference)


def fixed_entry(entry: LossEntry, setting: Mapping[str, Any]) -> dict[str, Any]:
    """Return a loss as a study file writes it, with every value of ``setting`` fixed.

    >>> from mlcompare.losses.compose import Term
    >>> both = LossEntry("both", "sum", (Term("cosface"), Term("center_term")))
    >>> fixed_entry(both, {"margin": 0.2, "weight": 0.01, "lr": 0.003})
    {'lr': 0.003, 'sum': [{'loss': 'cosface', 'margin': 0.2}, {'loss': 'center_term', 'weight': 0.01}]}
    >>> fixed_entry(LossEntry("nested", "matryoshka", (Term("cosface"),)), {"margin": 0.2, "heads": "own"})
    {'heads': 'own', 'matryoshka': {'loss': 'cosface', 'margin': 0.2}}
    """
    layout = entry.layout
    own = {key: value for key, value in setting.items() if key in layout}
    of_training = {key: value for key, value in setting.items() if key not in layout}
    return {**({"loss": entry.terms[0].loss} if entry.form == "single" else {}), **of_training, **_written(entry, own)}


def _written(entry: LossEntry, own: Mapping[str, Any]) -> dict[str, Any]:
    if entry.form == "single":
        return dict(own)
    layout = entry.layout
    parts: list[dict[str, Any]] = [{} for _ in range(len(entry.terms) + (entry.wrapper is not None))]
    for key, value in own.items():
        parts[layout[key].term][layout[key].name] = value
    around = parts.pop(0) if entry.wrapper is not None else {}
    items = []
    for term, part in zip(entry.terms, parts):
        share = {"share": term.share} if entry.form == "stages" else {}
        if isinstance(term.loss, str):
            items.append({"loss": term.loss, **share, **part})
        else:
            inside = term.loss.layout
            of_term = {key: value for key, value in part.items() if key not in inside}  # its weight in a sum
            kept = {key: value for key, value in part.items() if key in inside}
            items.append({**share, **of_term, **_written(term.loss, kept)})
    return {**around, entry.form: items if entry.wrapper is None else items[0]}
