"""The section on learning curves: validation along the training, one line a loss, and who was still rising."""

from __future__ import annotations

from collections.abc import Mapping

from mlcompare.comparison.past_best import past_best_notes
from mlcompare.comparison.still_rising import LEVEL, TOLERANCE, LearningCurve, learning_curves, rising_sentence
from mlcompare.comparison.time_matched import time_matched
from mlcompare.report.formats import number, seconds
from mlcompare.report.page import Part, render
from mlcompare.report.plots import Plot, axis, color, dash, floats, layout
from mlcompare.report.study import Study

__all__ = ["caution", "learning_part"]

Curves = Mapping[str, LearningCurve]


def caution(study: Study) -> str | None:
    """Return what the verdict says of losses that weren't done when their training stopped; None where all were."""
    return rising_sentence(learning_curves(study.results), study.comparison.best)


def learning_part(study: Study, prefix: str, level: int) -> Part | None:
    """The selected settings' learning curves; None where a store has none."""
    curves = learning_curves(study.results)
    names = [name for name in study.losses() if name in curves]
    if not names:
        return None
    metric = str(study.results.loc[study.results["kind"] == "curve", "metric"].iloc[0])
    plot = _plot(curves, names, metric, prefix)
    rows = [
        (f"{name} {_mark(curves[name])}".rstrip(), curves[name].step[-1], number(curves[name].value[-1]),
         number(curves[name].gain, sign=True), number(curves[name].error))
        for name in names
    ]  # fmt: skip
    fell = next(past_best_notes({name: curves[name].past_best for name in names}), None)
    rule = {"tolerance": TOLERANCE, "level": LEVEL}
    in_time = [
        (r.loss, seconds(r.seconds), round(r.step), number(r.value), r.rank, number(r.value_at_end), r.rank_at_end)
        for r in time_matched(study.results).itertuples()
    ]
    body = render(
        "learning", metric=metric, rising=caution(study), fell=fell, plot=plot, rows=rows, rule=rule, in_time=in_time
    )
    return Part(f"{prefix}-learning-part", "Learning curves", body, [plot], level)


def _mark(curve: LearningCurve) -> str:
    return "↗" if curve.still_rising else "↘" if curve.past_best else ""


def _plot(curves: Curves, names: list[str], metric: str, prefix: str) -> Plot:
    data, legend = [], []
    for place, name in enumerate(names):
        curve = curves[name]
        mark = " ↗" if curve.still_rising else ""
        symbols = ["circle"] * (len(curve.step) - 1) + ["triangle-up" if curve.still_rising else "circle"]
        data.append({
            "type": "scatter", "mode": "lines+markers", "name": name + mark, "legendgroup": name,
            "x": list(curve.step), "y": floats(curve.value),
            "line": {"color": color(place), "dash": dash(place), "width": 2},
            "marker": {"size": [6] * (len(symbols) - 1) + [11 if curve.still_rising else 6], "symbol": symbols,
                       "opacity": 1, "line": {"width": 0}},
            "hovertemplate": "%{fullData.name}, %{x} steps: %{y:.3f}<extra></extra>",
        })  # fmt: skip
        legend.append((name, color(place), dash(place)))
    ends = "; ".join(
        f"{name} {number(curves[name].value[-1])}{' and rising' if curves[name].still_rising else ''}" for name in names
    )
    return Plot(
        f"{prefix}-learning", data,
        layout(axis("steps", rangemode="tozero"), axis(f"{metric} on validation"), height=380),
        f"Validation {metric} along the training; at the end: {ends}.", legend=legend,
    )  # fmt: skip
