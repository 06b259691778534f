"""The section on learning curves: validation along the training, one line a loss, and who was still rising."""

from __future__ import annotations

from collections.abc import Mapping

from mlcompare.comparison.still_rising import LEVEL, TOLERANCE, LearningCurve, learning_curves, rising_sentence
from mlcompare.report.markup import join, number, table, tag
from mlcompare.report.page import Part
from mlcompare.report.plots import Plot, axis, color, dash, figure, floats, layout
from mlcompare.report.study import Study

__all__ = ["caution", "learning_part"]

Curves = Mapping[str, LearningCurve]
RULE = (
    "A loss counts as still rising where its mean gain from the point before the last to the last exceeds "
    f"{TOLERANCE:g} of the metric's range and a one-sided t-test over folds tells it from zero at {LEVEL:g}."
)


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
        (f"{name} ↗" if curves[name].still_rising else name, curves[name].step[-1], number(curves[name].value[-1]),
         number(curves[name].gain, sign=True), number(curves[name].error))
        for name in names
    ]  # fmt: skip
    header = ["loss", "steps", metric, "gain", "its error"]
    caption = f"The last stretch: mean gain in {metric} over folds, with its standard error. ↗ still rising"
    told = f"Mean {metric} on validation samples of the final trainings. A line that ends in ▲ was still rising."
    text = caution(study) or "No loss was still rising when training stopped."
    body = join([
        tag("p", text), figure(plot, told),
        tag("details", tag("summary", "How much did the last stretch bring?"),
            table(caption, header, rows, numeric=(1, 2, 3, 4)), tag("p", RULE, class_="muted")),
    ])  # fmt: skip
    return Part(f"{prefix}-learning-part", "Learning curves", body, [plot], level)


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
