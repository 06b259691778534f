"""Plotly figures as plain data, with colours named by tokens that the page fills in for light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["FAMILY_COLORS", "Plot", "axis", "color", "dash", "floats", "layout"]

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
