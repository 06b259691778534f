"""Sections on the search: curves over trials, and hyperparameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlcompare.comparison import budget_sensitivity, importance
from mlcompare.report.markup import Html, join, number, p_value, setting, table, tag
from mlcompare.report.page import Part
from mlcompare.report.plots import figure, gallery
from mlcompare.report.search_plots import best_so_far_plot, slice_groups, symbol_of
from mlcompare.report.study import Study

__all__ = ["hyperparameters_part", "search_part"]


TITLES = {"m": "m: margin", "s": "s: scale", "λ": "λ: weight of a term"}
KEYS = ("★ selected", "◆ default", "■ published", "● sampled")


def search_part(study: Study, prefix: str, level: int) -> Part | None:
    """Best-so-far curves, and whether half the trials would have said the same."""
    plot = best_so_far_plot(study, prefix, study.losses())
    if plot is None:
        return None
    budget = budget_sensitivity(study.results, study.metric)
    rows = [
        (r.loss, number(r.best_with_share), number(r.best), number(r.gain, sign=True))
        for r in budget.table.itertuples()
    ]
    header = ["loss", f"best of {budget.trials}", "best of all", "gain"]
    caption = f"Best {study.metric} on validation after {budget.trials} trials and after all"
    body = join([
        tag("p", budget.sentence), figure(plot, "The best validation score so far, by trial, in the order of asking."),
        tag("details", tag("summary", "Would half the trials have been enough?"),
            table(caption, header, rows, numeric=(1, 2, 3))),
    ])  # fmt: skip
    return Part(f"{prefix}-search-part", "The search", body, [plot], level)


def hyperparameters_part(study: Study, prefix: str, level: int) -> Part | None:
    """The validation score along m, s, λ, α and whatever else was searched, and how much each mattered."""
    groups = slice_groups(study, prefix)
    if not groups:
        return None
    parts: list[Any] = [
        tag("p", f"Each point is one trial: its setting, and its {study.metric} on validation."),
        tag("ul", *[tag("li", text) for text in KEYS], class_="keys"),
    ]
    heading, plots = f"h{level + 1}", []
    for name, charts in groups:
        parts += [tag(heading, TITLES.get(name, name)), gallery(charts)]
        plots += charts
    parts += [_importance(study), _bounds(study)]
    return Part(f"{prefix}-hyper", "Hyperparameters", join(parts), plots, level)


def _importance(study: Study) -> Html | None:
    found = importance(study.results, np.random.default_rng(0), metric=study.metric, spaces=study.spaces)
    if found.empty:
        return None
    searched = [r for r in found.itertuples() if r.hyperparameter in study.spaces.get(r.loss, {})]
    rows = [
        (r.loss, r.hyperparameter, symbol_of(r.hyperparameter) or "", r.trials, number(r.importance, digits=2),
         number(r.trend, sign=True, digits=2), p_value(r.p_value), setting(float(r.best_value)))
        for r in searched
    ]  # fmt: skip
    if not rows:
        return None
    header = ["loss", "hyperparameter", "role", "trials", "share explained", "trend", "p of trend", "best seen"]
    caption = (
        "How much each hyperparameter mattered: the share of the variance that a parabola in it predicts for unseen "
        "trials (0 to 1), and Spearman's rank correlation. Descriptions, not effects: a search crowds around its "
        "optimum. A dash: fewer than six trials."
    )
    return tag(
        "details", tag("summary", "How much did each matter?"), table(caption, header, rows, numeric=range(3, 8))
    )


def _bounds(study: Study) -> Html | None:
    rows = []
    for row in study.comparison.records():
        for name, wider in (row["suggested_ranges"] or {}).items():
            old = study.spaces[row["loss"]][name]
            rows.append((
                row["loss"], name, setting(float(row["hyperparameters"][name])), _range(old), _range(wider),
            ))  # fmt: skip
    if not rows:
        return None
    caption = "Selected on the bound of its range: a better setting may lie beyond it"
    return table(caption, ["loss", "hyperparameter", "selected", "searched", "suggested"], rows, numeric=[2])


def _range(space: Any) -> str:
    return f"{space['low']:g} to {space['high']:g}{', logarithmic' if space.get('log') else ''}"
