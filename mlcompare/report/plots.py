"""Plotly figures as plain data, with colours named by tokens that the page fills in for light and dark."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mlcompare.report.markup import Html, join, tag

__all__ = [
    "FAMILY_COLORS",
    "Plot",
    "axis",
    "color",
    "dash",
    "figure",
    "floats",
    "gallery",
    "layout",
    "plot_json",
    "switches_of",
]

COLORS = 10  # categorical colours in style.css: --c0 … --c9
DASHES = ("solid", "dash", "dot", "dashdot")
FAMILY_COLORS = {"margin": "@margin", "metric": "@metric", "baseline": "@baseline"}


@dataclass(frozen=True)
class Plot:
    """One chart: plotly's ``data`` and ``layout``, what a screen reader says, and names for the legend's switches.

    ``legend`` holds ``(name, colour token, dash)``: traces whose ``legendgroup`` is the name are switched by it.
    """

    id: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    alt: str
    title: str | None = None
    legend: list[tuple[str, str, str]] = field(default_factory=list)


def color(number: int) -> str:
    """Return the token of the n-th category's colour; they repeat, with another dash.

    >>> color(0), color(13)
    ('@c0', '@c3')
    """
    return f"@c{number % COLORS}"


def dash(number: int) -> str:
    """Return the n-th category's dash."""
    return DASHES[number // COLORS % len(DASHES)]


def axis(title: str | None = None, **more: Any) -> dict[str, Any]:
    """Return an axis that can't be dragged (a finger on a phone scrolls the page instead)."""
    return {
        "title": {"text": title, "standoff": 8} if title else None, "gridcolor": "@grid", "linecolor": "@grid",
        "zeroline": False, "fixedrange": True, "automargin": True, **more,
    }  # fmt: skip


def layout(x: dict[str, Any], y: dict[str, Any], *, height: int = 340, **more: Any) -> dict[str, Any]:
    """Return the layout that all charts share."""
    return {
        "xaxis": x, "yaxis": y, "height": height, "margin": {"l": 8, "r": 14, "t": 12, "b": 8, "pad": 4},
        "paper_bgcolor": "@clear", "plot_bgcolor": "@clear", "showlegend": False, "dragmode": False,
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "@ink"}, "hovermode": "closest",
        "hoverlabel": {"bgcolor": "@card", "bordercolor": "@line", "font": {"color": "@ink"}}, **more,
    }  # fmt: skip


def floats(values: Sequence[Any] | np.ndarray, digits: int = 6) -> list[float | None]:
    """Return plain numbers with ``digits`` figures; None where there is none.

    >>> floats([0.12345678, float("nan"), None])
    [0.123457, None, None]
    """
    return [None if v is None or not math.isfinite(v) else float(f"{v:.{digits}g}") for v in values]


def figure(plot: Plot, caption: Any = None, after: Any = None) -> Html:
    """Return the chart with its caption and switches."""
    box = tag("div", id=plot.id, class_="plot", role="img", aria_label=plot.alt, style=_height(plot))
    title = tag("div", plot.title, class_="plot-title") if plot.title else None
    switches = switches_of([plot])
    below = tag("figcaption", caption) if caption else None
    return tag("figure", *[part for part in (title, box, switches, below, after) if part is not None])


def gallery(plots: Sequence[Plot], *, kind: str = "small") -> Html:
    """Return small charts side by side, as many as fit; one row of switches serves all of them."""
    charts = tag("div", join(figure(replace(plot, legend=[])) for plot in plots), class_=f"gallery {kind}")
    return join([switches_of(plots), charts])


def _height(plot: Plot) -> str:
    """Keep the place of a chart that isn't drawn yet."""
    return f"min-height: {plot.layout.get('height', 340)}px"


def switches_of(plots: Sequence[Plot]) -> Html | None:
    """Return the buttons that show or hide a name in all of ``plots``; None where there is nothing to switch."""
    if not plots or not plots[0].legend:
        return None
    ids = " ".join(plot.id for plot in plots)
    buttons = []
    for name, token, style in plots[0].legend:
        chip = tag("span", class_=f"chip {style}", style=f"--chip: var(--{token[1:]})", aria_hidden="true")
        buttons.append(tag("button", chip, name, type="button", aria_pressed="true", data_plots=ids, data_name=name))
    return tag("div", *buttons, class_="legend", role="group", aria_label="Show or hide")


def plot_json(plots: Sequence[Plot]) -> str:
    """Return the charts as JSON that may stand inside a script element."""
    records = [{"id": plot.id, "data": plot.data, "layout": plot.layout} for plot in plots]
    text = json.dumps(records, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
