"""Sections drawn from the sealed samples' embeddings: curves, two-dimensional views, neighbours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from mlcompare.report.curves import Curves, curves_of
from mlcompare.report.embedding_plots import recall_plot, roc_plot, shown_classes, view_plot
from mlcompare.report.markup import Html, join, number, table, tag
from mlcompare.report.page import Part
from mlcompare.report.plots import figure, gallery, switches_of
from mlcompare.report.sheets import sheet
from mlcompare.report.study import Embeddings, Study, TestSamples

__all__ = ["curves_part", "neighbours_part", "views_part"]

MOST_LOSSES = 12  # the best ones: more curves or views than that can't be read
METHODS = {
    "raw": "The embeddings are two-dimensional and shown as they are.",
    "t-SNE": "t-SNE of the embeddings on the unit sphere: neighbourhoods mean something, distances and sizes don't.",
    "PCA": "The first two principal components of the embeddings on the unit sphere.",
}


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
    numbers = _metrics_table(study)
    if not curves:
        return Part(f"{prefix}-curves", "Verification and retrieval", numbers, level=level) if numbers else None
    roc, recall = roc_plot(curves, prefix), recall_plot(curves, prefix)
    first = next(iter(curves.values()))
    told = f"Selected settings, mean over {first.folds} folds (seed 0)."
    if len(study.losses()) > len(curves):
        told += f" The {len(curves)} leading losses that left embeddings are shown."
    thinned = first.queries < len(runs[next(iter(curves))][0].labels)
    some = f", from {first.queries} evenly spaced queries" if thinned else ""
    pair = [
        figure(replace(roc, legend=[]), f"Verification: all pairs of sealed samples{some}."),
        figure(replace(recall, legend=[]), f"Retrieval: each sealed sample against all others{some}."),
    ]
    body = join([tag("p", told), switches_of([roc, recall]), tag("div", *pair, class_="pair"), numbers])
    return Part(f"{prefix}-curves", "Verification and retrieval", body, [roc, recall], level)


def _metrics_table(study: Study) -> Html | None:
    """Mean of every metric over the successful final runs of the selected settings."""
    rows = study.results
    finals = rows[(rows["kind"] == "final") & (rows["source"] == "selected") & (rows["status"] == "ok")]
    baselines = rows[(rows["kind"] == "baseline") & (rows["status"] == "ok")]
    both = pd.concat([finals, baselines])
    of_folds = both.groupby(["loss", "metric", "fold"], dropna=False)["value"].mean()
    means = of_folds.groupby(["loss", "metric"]).mean().unstack() if len(both) else pd.DataFrame()
    order = [row["loss"] for row in study.comparison.records() if row["loss"] in means.index]
    if not order:
        return None
    metrics = list(dict.fromkeys(both["metric"]))
    shown = [(loss, *[number(means.loc[loss].get(metric)) for metric in metrics]) for loss in order]
    caption = "Every metric on the sealed test classes, mean over folds and seeds (eer: lower is better)"
    return table(caption, ["loss", *metrics], shown, numeric=range(1, len(metrics) + 1))


def views_part(
    study: Study, runs: dict[str, list[Embeddings]], samples: TestSamples | None, prefix: str, level: int
) -> Part | None:
    """The same sealed samples, embedded by each loss, in two dimensions."""
    runs = {loss: found for loss, found in runs.items() if _finite(found[0])}
    if not runs:
        return None
    first = next(iter(runs.values()))[0]
    chosen, colored = shown_classes(first.labels)
    names = samples.class_names if samples else ()
    plots, methods = [], []
    for number_, (loss, found) in enumerate(runs.items()):
        if len(found[0].labels) != len(first.labels):
            continue
        plot, method = view_plot(loss, found[0], chosen, colored, names, f"{prefix}-view-{number_}")
        plots.append(plot)
        methods.append(method)
    classes = len(set(first.labels[chosen].tolist()))
    told = f"{len(chosen)} sealed samples of {classes} classes, {len(colored)} of them coloured, embedded by the "
    told += f"selected setting of each loss (fold {first.fold}, seed 0). {METHODS[methods[0]]}"
    return Part(f"{prefix}-views", "Embeddings", join([tag("p", told), gallery(plots, kind="views")]), plots, level)


def _finite(run: Embeddings) -> bool:
    return bool(pd.notna(run.vectors).all()) and len(run.vectors) > 2 and run.vectors.ndim == 2


def neighbours_part(
    study: Study, runs: dict[str, list[Embeddings]], samples: TestSamples | None, prefix: str, level: int
) -> Part | None:
    """Nearest-neighbour sheets of the best loss, and of the best of the other family."""
    if samples is None or samples.images is None:
        return None
    parts: list[Any] = [
        tag("p", "Left a query, then its nearest neighbours by cosine, nearest first. The first rows are the loss's "
            "worst queries, the others its best, one for each class. ✓ hit · ✗ miss.")
    ]  # fmt: skip
    for loss in _shown(study, list(runs)):
        found = sheet(loss, runs[loss][0], samples)
        if found is not None:
            parts += [tag(f"h{level + 1}", loss), found]
    return Part(f"{prefix}-neighbours", "Nearest neighbours", join(parts), level=level) if len(parts) > 1 else None


def _shown(study: Study, names: list[str]) -> list[str]:
    families = {row["loss"]: row["family"] for row in study.comparison.records()}
    leaders: dict[str, str] = {}
    for name in names:
        leaders.setdefault(families[name], name)
    return list(leaders.values())
