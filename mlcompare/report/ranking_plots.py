"""Charts of the ranking: forest plot, tunability, cost against quality, critical differences."""

from __future__ import annotations

from typing import Any

from mlcompare.comparison import CriticalDifference
from mlcompare.report.formats import number, seconds, span
from mlcompare.report.plots import FAMILY_COLORS, Plot, axis, floats, layout
from mlcompare.report.study import Study

__all__ = ["cost_plot", "critical_difference_plot", "forest_plot", "tunability_plot"]

ROW = 30  # pixels for each loss


def _rows_axis(names: list[str]) -> dict[str, Any]:
    return axis(
        type="category", categoryorder="array", categoryarray=names[::-1], showgrid=False, ticks="",
        range=[-0.6, len(names) - 0.4],
    )  # fmt: skip


def forest_plot(study: Study, prefix: str) -> Plot | None:
    """Mean and interval of each loss and baseline, best on top; a hollow diamond shows the default setting."""
    rows = [row for row in study.comparison.records() if row["mean"] is not None]
    if not rows:
        return None
    names = [row["loss"] for row in rows]
    data = []
    for family, token in FAMILY_COLORS.items():
        mine = [row for row in rows if row["family"] == family]
        if mine:
            data += [_interval_trace(mine, family, token), _default_trace(mine, token)]
    best = next((row["mean"] for row in rows if row["loss"] == study.comparison.best), None)
    shapes = [] if best is None else [
        {"type": "line", "xref": "x", "yref": "paper", "x0": best, "x1": best, "y0": 0, "y1": 1,
         "line": {"color": "@muted", "width": 1, "dash": "dot"}, "layer": "below"}
    ]  # fmt: skip
    percent = f"{100 * study.comparison.confidence:g} %"
    said = "; ".join(f"{row['loss']} {number(row['mean'])} ({span(row['ci_low'], row['ci_high'])})" for row in rows)
    return Plot(
        f"{prefix}-forest", [trace for trace in data if trace["x"]],
        layout(axis(study.metric), _rows_axis(names), height=90 + ROW * len(names), shapes=shapes),
        f"Forest plot of {study.metric} with {percent} intervals, best first: {said}.",
        legend=[(f, token, "solid") for f, token in FAMILY_COLORS.items() if any(r["family"] == f for r in rows)],
    )  # fmt: skip


def _interval_trace(rows: list[dict], family: str, token: str) -> dict[str, Any]:
    known = [row["ci_low"] is not None for row in rows]
    up = [row["ci_high"] - row["mean"] if ok else None for row, ok in zip(rows, known)]
    down = [row["mean"] - row["ci_low"] if ok else None for row, ok in zip(rows, known)]
    told = [f"{number(row['mean'])} ({span(row['ci_low'], row['ci_high'])})" for row in rows]
    return {
        "type": "scatter", "mode": "markers", "legendgroup": family, "name": family,
        "x": floats([row["mean"] for row in rows]), "y": [row["loss"] for row in rows], "customdata": told,
        "hovertemplate": "%{y}: %{customdata}<extra></extra>", "marker": {"color": token, "size": 10},
        "error_x": {"type": "data", "symmetric": False, "array": floats(up), "arrayminus": floats(down),
                    "color": token, "thickness": 2, "width": 4},
    }  # fmt: skip


def _default_trace(rows: list[dict], token: str) -> dict[str, Any]:
    rows = [row for row in rows if row["default_mean"] is not None]
    return {
        "type": "scatter", "mode": "markers", "legendgroup": rows[0]["family"] if rows else "", "name": "untuned",
        "x": floats([row["default_mean"] for row in rows]), "y": [row["loss"] for row in rows],
        "hovertemplate": "%{y}, default setting: %{x:.3f}<extra></extra>",
        "marker": {"symbol": "diamond-open", "color": token, "size": 11, "line": {"width": 1.5, "color": token}},
    }  # fmt: skip


def tunability_plot(study: Study, prefix: str) -> Plot | None:
    """What tuning bought: the gain over the default setting with its interval."""
    gains = study.comparison.tunability.dropna(subset=["gain"]).sort_values("gain", ascending=False)
    if gains.empty:
        return None
    families = {row["loss"]: row["family"] for row in study.comparison.records()}
    rows = list(gains.itertuples())
    spans = [span(r.simultaneous_low, r.simultaneous_high, sign=True) for r in rows]
    told = [f"{number(r.default_mean)} → {number(r.tuned_mean)}, {spread}" for r, spread in zip(rows, spans)]
    tokens = [FAMILY_COLORS[families[row.loss]] for row in rows]
    trace = {
        "type": "scatter", "mode": "markers", "x": floats(gains["gain"]), "y": list(gains["loss"]), "customdata": told,
        "hovertemplate": "%{y}: %{x:+.3f} (%{customdata})<extra></extra>", "marker": {"color": tokens, "size": 10},
        "error_x": {"type": "data", "symmetric": False, "array": floats(gains["simultaneous_high"] - gains["gain"]),
                    "arrayminus": floats(gains["gain"] - gains["simultaneous_low"]), "color": "@muted",
                    "thickness": 2, "width": 4},
    }  # fmt: skip
    zero = {"type": "line", "xref": "x", "yref": "paper", "x0": 0, "x1": 0, "y0": 0, "y1": 1,
            "line": {"color": "@muted", "width": 1, "dash": "dot"}, "layer": "below"}  # fmt: skip
    said = "; ".join(f"{row.loss} {number(row.gain, sign=True)}" for row in rows)
    return Plot(
        f"{prefix}-tunability", [trace],
        layout(axis(f"gain in {study.metric}"), _rows_axis(list(gains["loss"])), height=90 + ROW * len(rows),
               shapes=[zero]),
        f"Gain of the tuned over the default setting: {said}.",
    )  # fmt: skip


def cost_plot(study: Study, prefix: str) -> Plot | None:
    """Seconds of one final training against quality; the size of a marker is its peak memory."""
    rows = [row for row in study.comparison.records() if row["mean"] is not None and row["family"] != "baseline"]
    costs = final_costs(study)
    rows = [row for row in rows if row["loss"] in costs]
    if not rows:
        return None
    largest = max(costs[row["loss"]][1] for row in rows) or 1.0
    data = []
    for family in ("margin", "metric"):
        mine = [row for row in rows if row["family"] == family]
        if mine:
            data.append({
                "type": "scatter", "mode": "markers+text", "legendgroup": family, "name": family,
                "x": floats([costs[row["loss"]][0] for row in mine]), "y": floats([row["mean"] for row in mine]),
                "text": [row["loss"] for row in mine], "textposition": "top center", "textfont": {"size": 11},
                "customdata": [f"{costs[row['loss']][1] / 2**20:.0f} MiB" for row in mine], "cliponaxis": False,
                "hovertemplate": "%{text}: %{y:.3f}, %{x:.2f} s, %{customdata}<extra></extra>",
                "marker": {"color": FAMILY_COLORS[family], "opacity": 0.8,
                           "size": [8 + 12 * costs[row["loss"]][1] / largest for row in mine]},
            })  # fmt: skip
    told = "; ".join(f"{row['loss']} {seconds(costs[row['loss']][0])}, {number(row['mean'])}" for row in rows)
    return Plot(
        f"{prefix}-cost", data, layout(axis("seconds of one training"), axis(study.metric), height=400),
        f"Seconds of one final training and mean {study.metric}: {told}.",
        legend=[(str(t["name"]), FAMILY_COLORS[str(t["name"])], "solid") for t in data],
    )  # fmt: skip


def final_costs(study: Study) -> dict[str, tuple[float, float]]:
    """Return loss → (mean seconds, peak bytes) of the successful final runs of its selected setting."""
    rows = study.results
    chosen = (rows["kind"] == "final") & (rows["source"] == "selected") & (rows["metric"] == study.metric)
    rows = rows[chosen & (rows["status"] == "ok")]
    groups = rows.groupby("loss")
    memory = groups["peak_memory"].max().fillna(0)
    return {loss: (float(mean), float(memory[loss])) for loss, mean in groups["seconds"].mean().items()}


def critical_difference_plot(found: CriticalDifference, prefix: str) -> Plot:
    """Mean ranks on a line; bars join the losses that aren't told apart."""
    names = list(found.ranks.index)
    data = [{
        "type": "scatter", "mode": "markers", "x": floats(found.ranks), "y": names,
        "marker": {"color": "@c0", "size": 10},
        "hovertemplate": "%{y}: mean rank %{x:.2f}<extra></extra>",
    }]  # fmt: skip
    shapes = []
    for number_, group in enumerate(g for g in found.groups if len(g) > 1):
        last = len(names) - 1
        low, high = (last - names.index(name) for name in (group[-1], group[0]))
        x = float(found.ranks[group[0]]), float(found.ranks[group[-1]])
        shapes.append({
            "type": "rect", "xref": "x", "yref": "y", "x0": x[0] - 0.04, "x1": x[1] + 0.04, "y0": low - 0.3,
            "y1": high + 0.3, "line": {"color": f"@c{(number_ + 1) % 10}", "width": 2}, "layer": "below",
        })  # fmt: skip
    told = "; ".join(f"{name} {rank:.2f}" for name, rank in found.ranks.items())
    top = axis("mean rank (1 is best)", range=[0.8, len(names) + 0.2], dtick=1)
    return Plot(
        f"{prefix}-cd", data, layout(top, _rows_axis(names), height=100 + ROW * len(names), shapes=shapes),
        f"Critical-difference diagram, mean ranks: {told}.",
    )  # fmt: skip
