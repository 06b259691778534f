"""Quality against dimension, and at each level of a hierarchy: the objective taken in other ways."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from mlcompare.metrics import Metric, parse_metric

__all__ = ["dimension_table", "level_table", "quality_by_dimension", "quality_by_level"]

CLASS = "class"


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
    whole = parse_metric(objective).whole
    means = _means(results, objective, lambda metric: (metric.dims or 0) if metric.whole == whole else None)
    if not any(means.columns):
        return pd.DataFrame()
    return means[sorted(means.columns, key=lambda size: (size > 0, -size))]


def quality_by_level(results: pd.DataFrame, objective: str) -> pd.DataFrame:
    """Return the mean of an objective over the final runs of selected settings, a row for each loss.

    Columns are levels of the dataset's hierarchy, the class first, then in the order of the results; there is none
    where no metric of a level, such as ``map_at_r_level_kind``, was measured.

    >>> rows = [("a", "map_at_r", 0.5), ("a", "map_at_r_level_kind", 0.9), ("a", "auc", 1.0)]
    >>> results = pd.DataFrame(rows, columns=["loss", "metric", "value"])
    >>> results[["kind", "source", "status", "fold"]] = "final", "selected", "ok", 0
    >>> quality_by_level(results, "map_at_r").to_dict("records")
    [{'class': 0.5, 'kind': 0.9}]
    """
    means = _means(results, objective, lambda metric: (metric.level or CLASS) if metric.dims is None else None)
    if set(means.columns) <= {CLASS}:
        return pd.DataFrame()
    first = [CLASS] if CLASS in means.columns else []
    met = [parse_metric(name).level for name in _taken(results, objective)]
    return means[[*first, *dict.fromkeys(level for level in met if level in means.columns)]]


def _taken(results: pd.DataFrame, objective: str) -> list[str]:
    """Return the names of the objective as a whole, of levels and of first coordinates, as they are met."""
    plain = parse_metric(objective).plain
    names = [str(name) for name in results["metric"].dropna().unique()]
    return [name for name in names if name == plain or name.startswith((f"{plain}_in_", f"{plain}_level_"))]


def _means(results: pd.DataFrame, objective: str, column_of: Callable[[Metric], int | str | None]) -> pd.DataFrame:
    """Return the means of those metrics that ``column_of`` gives a column, a row for each loss."""
    finals = results[(results["kind"] == "final") & (results["source"] == "selected") & (results["status"] == "ok")]
    columns = {name: column_of(parse_metric(name)) for name in _taken(finals, objective)}
    columns = {name: column for name, column in columns.items() if column is not None}
    mine = finals[finals["metric"].isin(list(columns))]
    of_folds = mine.groupby(["loss", "metric", "fold"], dropna=False)["value"].mean()
    return of_folds.groupby(["loss", "metric"]).mean().unstack().rename(columns=columns)


def dimension_table(results: pd.DataFrame, objective: str) -> Table | None:
    """Return :func:`quality_by_dimension` for a terminal; None where nothing of it was measured."""
    title = f"{parse_metric(objective).whole} by dimension"
    return _table(quality_by_dimension(results, objective).rename(columns={0: "all"}), title)


def level_table(results: pd.DataFrame, objective: str) -> Table | None:
    """Return :func:`quality_by_level` for a terminal; None where nothing of it was measured."""
    return _table(quality_by_level(results, objective), f"{parse_metric(objective).plain} by level")


def _table(means: pd.DataFrame, title: str) -> Table | None:
    if means.empty:
        return None
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("loss")
    for column in means.columns:
        table.add_column(Text(str(column)), justify="right")
    for loss, row in means.iterrows():
        table.add_row(Text(str(loss)), *("–" if pd.isna(value) else f"{value:.3f}" for value in row))
    return table
