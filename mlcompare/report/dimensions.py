"""Quality against dimension: the objective of the first coordinates of each loss's embeddings."""

from __future__ import annotations

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from mlcompare.metrics import parse_metric

__all__ = ["dimension_table", "quality_by_dimension"]


def quality_by_dimension(results: pd.DataFrame, objective: str) -> pd.DataFrame:
    """Return the mean of an objective over the final runs of selected settings, a row for each loss.

    Columns are numbers of coordinates, the whole embedding (0) first, then the largest; there is none where no metric
    of first coordinates, such as ``map_at_r_in_16``, was measured.

    >>> rows = [("a", "map_at_r", 0.9), ("a", "map_at_r_in_8", 0.5), ("a", "auc", 1.0)]
    >>> results = pd.DataFrame(rows, columns=["loss", "metric", "value"])
    >>> results[["kind", "source", "status", "fold"]] = "final", "selected", "ok", 0
    >>> quality_by_dimension(results, "map_at_r").to_dict("records")
    [{0: 0.9, 8: 0.5}]
    """
    finals = results[(results["kind"] == "final") & (results["source"] == "selected") & (results["status"] == "ok")]
    whole = parse_metric(objective).whole
    sizes = {}
    for name in finals["metric"].dropna().unique():
        if name == whole or str(name).startswith(f"{whole}_in_"):
            sizes[name] = parse_metric(str(name)).dims or 0
    if not any(sizes.values()):
        return pd.DataFrame()
    mine = finals[finals["metric"].isin(list(sizes))]
    of_folds = mine.groupby(["loss", "metric", "fold"], dropna=False)["value"].mean()
    means = of_folds.groupby(["loss", "metric"]).mean().unstack().rename(columns=sizes)
    return means[sorted(means.columns, key=lambda size: (size > 0, -size))]


def dimension_table(results: pd.DataFrame, objective: str) -> Table | None:
    """Return :func:`quality_by_dimension` for a terminal; None where nothing of it was measured."""
    means = quality_by_dimension(results, objective)
    if means.empty:
        return None
    title = f"{parse_metric(objective).whole} by dimension"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("loss")
    for size in means.columns:
        table.add_column(str(size) if size else "all", justify="right")
    for loss, row in means.iterrows():
        table.add_row(Text(str(loss)), *("–" if pd.isna(value) else f"{value:.3f}" for value in row))
    return table
