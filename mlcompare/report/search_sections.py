"""Sections on the search: curves over trials, and hyperparameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlcompare.comparison import budget_sensitivity, importance
from mlcompare.report.formats import number, p_value, setting
from mlcompare.report.page import Part, render
from mlcompare.report.search_plots import best_so_far_plot, slice_groups, symbol_of
from mlcompare.report.study import Study

__all__ = ["hyperparameters_part", "search_part"]


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
    body = render("search", metric=study.metric, budget=budget, plot=plot, rows=rows)
    return Part(f"{prefix}-search-part", "The search", body, [plot], level)


def hyperparameters_part(study: Study, prefix: str, level: int) -> Part | None:
    """The validation score along m, s, λ, α and whatever else was searched, and how much each mattered."""
    groups = slice_groups(study, prefix)
    if not groups:
        return None
    body = render("hyperparameters", metric=study.metric, level=level, groups=groups, importance=_importance(study),
                  bounds=_bounds(study))  # fmt: skip
    return Part(f"{prefix}-hyper", "Hyperparameters", body, [plot for _, plots in groups for plot in plots], level)


def _importance(study: Study) -> list[tuple[Any, ...]]:
    found = importance(study.results, np.random.default_rng(0), metric=study.metric, spaces=study.spaces)
    return [
        (r.loss, r.hyperparameter, symbol_of(r.hyperparameter) or "", r.trials, number(r.importance, digits=2),
         number(r.trend, sign=True, digits=2), p_value(r.p_value), setting(float(r.best_value)))
        for r in found.itertuples() if study.searched(r.loss, r.hyperparameter) is not None
    ]  # fmt: skip


def _bounds(study: Study) -> list[tuple[str, ...]]:
    return [
        (row["loss"], name, setting(float(row["hyperparameters"][name])), _range(study.spaces[row["loss"]][name]),
         _range(wider))
        for row in study.comparison.records() for name, wider in (row["suggested_ranges"] or {}).items()
    ]  # fmt: skip


def _range(space: Any) -> str:
    return f"{space['low']:g} to {space['high']:g}{', logarithmic' if space.get('log') else ''}"
