"""The section on challenges: the leaders again under other conditions, and whether the verdict stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlcompare.report.formats import number, p_value, span
from mlcompare.report.page import Part, render
from mlcompare.report.plots import Plot, axis, floats, layout
from mlcompare.report.study import Study

__all__ = ["challenge_part"]

ROW = 30
COLORS = {"": "@muted", "holds": "@good", "weaker": "@baseline", "falls": "@bad"}

Row = Mapping[str, Any]


def challenge_part(study: Study, prefix: str, level: int) -> Part | None:
    """What ``mlcompare challenge`` left in a store; None where it hasn't been run."""
    kept = study.challenges()
    if kept is None:
        return None
    original = {"what": "the study itself", "verdict": "", "still_rising": [], "means": [None, None], "reason": None}
    original |= {**kept["original"], "low": kept["original"]["ci_low"], "high": kept["original"]["ci_high"]}
    every = [original, *kept["challenges"]]
    plot = _plot([row for row in every if row["difference"] is not None], kept["leaders"], study.metric, prefix)
    rows = [
        (row["what"], row["verdict"], number(row["difference"], sign=True), span(row["low"], row["high"], sign=True),
         p_value(row["p_value"]), *map(number, row["means"]), _remark(row))
        for row in every
    ]  # fmt: skip
    body = render(
        "challenges", summary=kept["summary"], plot=plot, rows=rows, leaders=kept["leaders"], metric=study.metric
    )
    return Part(f"{prefix}-challenges-part", "Challenges", body, [plot], level)


def _remark(row: Row) -> str:
    rising = f"still rising: {', '.join(row['still_rising'])}" if row["still_rising"] else ""
    return row["reason"] or rising or "–"


def _plot(rows: Sequence[Row], leaders: Sequence[str], metric: str, prefix: str) -> Plot:
    data = []
    for verdict, token in COLORS.items():
        mine = [row for row in rows if row["verdict"] == verdict]
        if not mine:
            continue
        up = [None if row["high"] is None else row["high"] - row["difference"] for row in mine]
        down = [None if row["low"] is None else row["difference"] - row["low"] for row in mine]
        data.append({
            "type": "scatter", "mode": "markers", "legendgroup": verdict, "name": verdict or "the study itself",
            "x": floats([row["difference"] for row in mine]), "y": [row["what"] for row in mine],
            "hovertemplate": "%{y}: %{x:+.3f}<extra></extra>", "marker": {"color": token, "size": 10},
            "error_x": {"type": "data", "symmetric": False, "array": floats(up), "arrayminus": floats(down),
                        "color": token, "thickness": 2, "width": 4},
        })  # fmt: skip
    names = [row["what"] for row in rows]
    zero = {"type": "line", "xref": "x", "yref": "paper", "x0": 0, "x1": 0, "y0": 0, "y1": 1, "layer": "below"}
    zero["line"] = {"color": "@muted", "width": 1, "dash": "dot"}
    rows_axis = axis(None, categoryorder="array", categoryarray=names[::-1], showgrid=False)
    told = "; ".join(f"{row['what']} {number(row['difference'], sign=True)} {row['verdict']}" for row in rows)
    return Plot(
        f"{prefix}-challenges", data,
        layout(axis(f"{leaders[0]} minus {leaders[1]}, {metric}"), rows_axis, height=90 + ROW * len(names),
               shapes=[zero]),
        f"How much better {leaders[0]} is than {leaders[1]} in each challenge: {told}.",
        legend=[(verdict, token, "solid") for verdict, token in COLORS.items()
                if verdict and any(row["verdict"] == verdict for row in rows)],
    )  # fmt: skip
