"""The section on quality against dimension: what the first coordinates of an embedding are worth alone."""

from __future__ import annotations

import math

from mlcompare.metrics import parse_metric
from mlcompare.report.dimensions import quality_by_dimension
from mlcompare.report.formats import number
from mlcompare.report.page import Part, render
from mlcompare.report.plots import Plot, axis, color, dash, floats, layout
from mlcompare.report.study import Study

__all__ = ["dimension_part"]


def dimension_part(study: Study, prefix: str, level: int) -> Part | None:
    """The objective of the first 16, 32, … coordinates of each loss; None where nothing of it was measured."""
    means = quality_by_dimension(study.results, study.metric)
    if means.empty:
        return None
    metric = parse_metric(study.metric).whole
    order = [loss for loss in study.losses() if loss in means.index]
    whole = study.config.get("encoder", {}).get("embedding_dim")
    sizes = [size or whole for size in means.columns]  # 0 is the whole embedding
    rows = [[loss, *(number(means.loc[loss, size]) for size in means.columns)] for loss in order]
    header = [f"first {size}" if size else f"all {whole or ''}".rstrip() for size in means.columns]
    plots = []
    if all(sizes):
        lines = {loss: sorted(zip(sizes, means.loc[loss], strict=True)) for loss in order}
        plots = [_plot(lines, metric, f"{prefix}-by-dimension")]
    body = render("dimensions", plots=plots, metric=metric, header=["loss", *header], rows=rows)
    return Part(f"{prefix}-dimensions", "Quality by dimension", body, plots, level)


def _plot(lines: dict[str, list[tuple[int, float]]], metric: str, label: str) -> Plot:
    sizes = sorted({size for line in lines.values() for size, _ in line})
    data = [
        {
            "type": "scatter", "mode": "lines+markers", "name": loss, "legendgroup": loss,
            "x": [size for size, _ in line], "y": floats([value for _, value in line]),
            "line": {"color": color(place), "dash": dash(place), "width": 2}, "marker": {"size": 6},
            "hovertemplate": "%{fullData.name}, first %{x}: %{y:.3f}<extra></extra>",
        }
        for place, (loss, line) in enumerate(lines.items())
    ]  # fmt: skip
    ends = (math.log10(sizes[0]) - 0.05, math.log10(sizes[-1]) + 0.05)
    x = axis("coordinates", type="log", tickvals=sizes, ticktext=list(map(str, sizes)), range=list(ends))
    said = "; ".join(f"{loss} {', '.join(f'{size}: {number(value)}' for size, value in line)}"
                     for loss, line in lines.items())  # fmt: skip
    legend = [(loss, color(place), dash(place)) for place, loss in enumerate(lines)]
    alt = f"{metric} of the first coordinates of each loss's embeddings: {said}."
    return Plot(label, data, layout(x, axis(metric)), alt, legend=legend)
