"""Charts of the search: best so far over trials, and the value along each hyperparameter."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from mlcompare.comparison import best_so_far, trial_scores, trial_settings
from mlcompare.report.formats import called, number
from mlcompare.report.plots import FAMILY_COLORS, Plot, axis, color, dash, floats, layout
from mlcompare.report.study import Study

__all__ = ["best_so_far_plot", "slice_groups", "symbol_of"]

SYMBOLS = {"margin": "m", "scale": "s", "weight": "λ", "alpha": "α", "lr": "learning rate"}
SYMBOLS |= {"head_lr_ratio": "rate of class weights", "samples_per_class": "K: samples a class"}
MARKERS = {
    "default": "diamond", "prior": "triangle-up", "earlier": "triangle-down", "published": "square",
    "sampled": "circle",
}  # fmt: skip


def symbol_of(name: str) -> str | None:
    """Return the role of a hyperparameter; in a sum the names carry their term's before it.

    >>> symbol_of("margin"), symbol_of("center_term_weight"), symbol_of("beta")
    ('m', 'λ', None)
    """
    for known, symbol in SYMBOLS.items():
        if name == known or name.endswith((f"_{known}", f".{known}")):
            return symbol
    return None


def best_so_far_plot(study: Study, prefix: str, order: list[str]) -> Plot | None:
    """The best validation score up to each trial, one line for each loss."""
    frame = best_so_far(study.results, study.metric) if _has_trials(study.results) else pd.DataFrame()
    if frame.empty or frame["best"].isna().all():
        return None
    data, legend = [], []
    for number_, loss in enumerate([*order, *sorted(set(frame["loss"]) - set(order))]):
        curve = frame[frame["loss"] == loss]
        if curve["best"].isna().all():
            continue
        data.append({
            "type": "scatter", "mode": "lines+markers", "name": loss, "legendgroup": loss,
            "x": [int(trial) + 1 for trial in curve["trial"]], "y": floats(curve["best"]),
            "line": {"color": color(number_), "dash": dash(number_), "shape": "hv", "width": 2}, "marker": {"size": 5},
            "hovertemplate": "%{fullData.name}, %{x} trials: %{y:.3f}<extra></extra>",
        })  # fmt: skip
        legend.append((loss, color(number_), dash(number_)))
    ends = "; ".join(f"{trace['name']} {number(trace['y'][-1])}" for trace in data)
    each = max(1, round(max(trace["x"][-1] for trace in data) / 8))  # whole trials between ticks
    return Plot(
        f"{prefix}-search", data,
        layout(axis("trials", tickformat="d", dtick=each), axis(f"best {study.metric} on validation"), height=380),
        f"Best validation {study.metric} over trials; at the end: {ends}.", legend=legend,
    )  # fmt: skip


def slice_groups(study: Study, prefix: str) -> list[tuple[str, list[Plot]]]:
    """Return ``(hyperparameter's role, one chart for each loss that searched it)``, m, s, λ and α first."""
    if not _has_trials(study.results):
        return []
    settings = trial_settings(study.results, study.metric).dropna()
    sources = trial_scores(study.results, study.metric).set_index(["loss", "trial"])["source"]
    families = {row["loss"]: row["family"] for row in study.comparison.records()}
    groups: dict[str, list[Plot]] = {}
    limits = _limits(settings["value"])
    order = {row["loss"]: position for position, row in enumerate(study.comparison.records())}
    found = sorted(settings.groupby(["loss", "hyperparameter"], sort=False), key=lambda pair: order[pair[0][0]])
    for (loss, name), rows in found:
        space = study.searched(loss, name)
        if space is None:
            continue  # fixed
        kinds = [sources.get((loss, trial)) for trial in rows["trial"]]
        selected = study.selected_trial(loss)
        label = f"{prefix}-slice-{len(groups)}-{sum(map(len, groups.values()))}"
        space = {**space, "name": called(name, *study.symbol(loss, name))}
        plot = _slice(label, study.metric, (loss, name), rows, kinds, selected, space, FAMILY_COLORS[families[loss]])
        plot.layout["yaxis"]["range"] = limits
        groups.setdefault(symbol_of(name) or called(name, study.symbol(loss, name)[0]), []).append(plot)
    known = [symbol for symbol in SYMBOLS.values() if symbol in groups]
    return [(name, groups[name]) for name in [*known, *(name for name in groups if name not in known)]]


def _has_trials(results: pd.DataFrame) -> bool:
    return bool((results["kind"] == "trial").any())


def _limits(values: pd.Series) -> list[float] | None:
    if values.empty:
        return None
    low, high = float(values.min()), float(values.max())
    pad = 0.08 * (high - low) or 0.01
    return [low - pad, high + pad]


def _searched_axis(space: Mapping[str, Any]) -> dict[str, Any]:
    """The axis spans the range that was searched, so that an optimum near a bound is seen there."""
    name, low, high, log = space["name"], float(space["low"]), float(space["high"]), bool(space.get("log"))
    ends = (math.log10(low), math.log10(high)) if log else (low, high)
    pad = 0.06 * (ends[1] - ends[0])
    span = {"range": [ends[0] - pad, ends[1] + pad]}
    if "values" in space:
        ticks = space["values"]
        kind = {"type": "log"} if log else {}
        return axis(name, tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks], **kind, **span)
    if not log:
        return axis(name, nticks=5, **span)
    decades = range(math.floor(ends[0]), math.ceil(ends[1]) + 1)
    steps = (1, 3) if ends[1] - ends[0] < 2.5 else (1,)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    ticks = [tick for tick in ticks if low / 1.01 <= tick <= high * 1.01]
    return axis(name, type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks], **span)


def _slice(label, metric, pair, rows: pd.DataFrame, kinds, selected, space, token: str) -> Plot:
    (loss, name), log = pair, bool(space.get("log"))
    chosen = [trial == selected for trial in rows["trial"]]
    told = [
        f"trial {trial}, {kind}{', selected' if star else ''}"
        for trial, kind, star in zip(rows["trial"], kinds, chosen)
    ]
    trace: dict[str, Any] = {
        "type": "scatter", "mode": "markers", "x": floats(rows["setting"]), "y": floats(rows["value"]),
        "customdata": told,
        "hovertemplate": f"{name} %{{x:.3g}}: %{{y:.3f}} (%{{customdata}})<extra></extra>",
        "marker": {"color": token, "size": [13 if star else 8 for star in chosen], "opacity": 0.9,
                   "symbol": ["star" if star else MARKERS.get(kind, "circle") for kind, star in zip(kinds, chosen)],
                   "line": {"width": 0}},
    }  # fmt: skip
    x = _searched_axis(space) | {"tickangle": 0}  # narrow screens
    best = rows.loc[rows["trial"] == selected, ["setting", "value"]]
    said = "" if best.empty else f"; selected {best['setting'].iloc[0]:.3g} with {number(best['value'].iloc[0])}"
    scale = ", logarithmic axis" if log else ""
    alt = f"{metric} on validation against {name} of {loss}{scale}, {len(rows)} trials{said}."
    return Plot(label, [trace], layout(x, axis(), height=210), alt, title=loss)
