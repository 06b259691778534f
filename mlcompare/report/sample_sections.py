"""Sections drawn from the sealed samples' embeddings: curves, two-dimensional views, neighbours."""

from __future__ import annotations

import pandas as pd

from mlcompare.metrics import parse_metric
from mlcompare.report.curves import Curves, curves_of
from mlcompare.report.dimensions import quality_by_dimension
from mlcompare.report.embedding_plots import recall_plot, roc_plot, shown_classes, view_plot
from mlcompare.report.formats import number
from mlcompare.report.page import Part, render
from mlcompare.report.sheets import sheet
from mlcompare.report.study import Embeddings, Study, TestSamples

__all__ = ["curves_part", "neighbours_part", "views_part"]

MOST_LOSSES = 12  # the best ones: more curves or views than that can't be read


def kept_runs(study: Study) -> dict[str, list[Embeddings]]:
    """Return the embeddings of the leading losses' selected settings, as far as the store keeps them."""
    runs = {loss: study.embeddings(loss) for loss in study.losses()[:MOST_LOSSES]}
    return {loss: found for loss, found in runs.items() if found}


def curves_part(study: Study, runs: dict[str, list[Embeddings]], prefix: str, level: int) -> Part | None:
    """ROC and recall curves, and the other metrics of the final runs."""
    curves: dict[str, Curves] = {}
    for loss, found in runs.items():
        curve = curves_of(found)
        if curve is not None:
            curves[loss] = curve
    rows, metrics = _mean_metrics(study)
    if not curves and not rows:
        return None
    plots = [roc_plot(curves, prefix), recall_plot(curves, prefix)] if curves else []
    first = next(iter(curves.values()), None)
    body = render(
        "curves", plots=plots, first=first, rows=rows, metrics=metrics,
        fewer=len(curves) if len(study.losses()) > len(curves) else None,
        thinned=first is not None and first.queries < len(runs[next(iter(curves))][0].labels),
    )  # fmt: skip
    return Part(f"{prefix}-curves", "Verification and retrieval", body, plots, level)


def _mean_metrics(study: Study) -> tuple[list[list[str]], list[str]]:
    """Mean of every metric over the successful final runs of the selected settings: rows, and the metrics' names."""
    rows = study.results[study.results["status"] == "ok"]
    finals = (rows["kind"] == "final") & (rows["source"] == "selected")
    both = pd.concat([rows[finals], rows[rows["kind"] == "baseline"]])
    if both.empty:
        return [], []
    of_folds = both.groupby(["loss", "metric", "fold"], dropna=False)["value"].mean()
    means = of_folds.groupby(["loss", "metric"]).mean().unstack()
    order = [row["loss"] for row in study.comparison.records() if row["loss"] in means.index]
    shown = quality_by_dimension(study.results, study.metric).columns  # in a section of its own
    prefixes = {f"{parse_metric(study.metric).whole}_in_{size}" for size in shown if size}
    metrics = [metric for metric in dict.fromkeys(both["metric"]) if metric not in prefixes]
    return [[loss, *(number(means.loc[loss].get(metric)) for metric in metrics)] for loss in order], metrics


def views_part(
    study: Study, runs: dict[str, list[Embeddings]], samples: TestSamples | None, prefix: str, level: int
) -> Part | None:
    """The same sealed samples, embedded by each loss, in two dimensions."""
    runs = {loss: found for loss, found in runs.items() if _finite(found[0])}
    if not runs:
        return None
    first = next(iter(runs.values()))[0]
    chosen, colored = shown_classes(first.labels)
    name_of = samples.name_of if samples else "class {}".format
    plots, methods = [], []
    for number_, (loss, found) in enumerate(runs.items()):
        if len(found[0].labels) != len(first.labels):
            continue
        plot, method = view_plot(loss, found[0], chosen, colored, name_of, f"{prefix}-view-{number_}")
        plots.append(plot)
        methods.append(method)
    body = render(
        "views", plots=plots, samples=len(chosen), classes=len(set(first.labels[chosen].tolist())),
        colored=len(colored), fold=first.fold, method=methods[0],
    )  # fmt: skip
    return Part(f"{prefix}-views", "Embeddings", body, plots, level)


def _finite(run: Embeddings) -> bool:
    return bool(pd.notna(run.vectors).all()) and len(run.vectors) > 2 and run.vectors.ndim == 2


def neighbours_part(
    study: Study, runs: dict[str, list[Embeddings]], samples: TestSamples | None, prefix: str, level: int
) -> Part | None:
    """Nearest-neighbour sheets of the best loss, and of the best of the other family."""
    if samples is None:
        return None
    sheets = {loss: sheet(runs[loss][0], samples) for loss in _shown(study, list(runs))}
    sheets = {loss: rows for loss, rows in sheets.items() if rows}
    body = render("neighbours", sheets=sheets, level=level)
    return Part(f"{prefix}-neighbours", "Nearest neighbours", body, level=level) if sheets else None


def _shown(study: Study, names: list[str]) -> list[str]:
    families = {row["loss"]: row["family"] for row in study.comparison.records()}
    leaders: dict[str, str] = {}
    for name in names:
        leaders.setdefault(families[name], name)
    return list(leaders.values())
