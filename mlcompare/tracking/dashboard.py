"""How a study's runs are laid out in the MLflow dashboard: few columns, useful ones first, kept as shared views."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

from mlcompare.metrics import higher_is_better

__all__ = ["shared_views", "view_link", "view_links", "where_to_browse"]

PARAMETERS = 6  # columns of hyperparameters at most: those that most losses search
TAG = "mlflow.sharedViewState."
LOCAL_SERVER, LOCAL_EXPERIMENT = "http://127.0.0.1:5000", "1"  # of `mlcompare dashboard`


def shared_views(objective: str, spaces: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the experiment tags that MLflow reads as shared views: ``trials`` and ``finals``.

    Args:
        objective: the study's objective; the runs are sorted by it, the best first.
        spaces: the search space of each loss, as the store's ``study.json`` has them.

    >>> sorted(shared_views("map_at_r", {"cosface": {"margin": {"low": 0, "high": 1}, "scale": 16}}))
    ['mlflow.sharedViewState.finals', 'mlflow.sharedViewState.trials']
    """
    searched = Counter(
        name
        for space in spaces.values()
        for name, dimension in space.items()
        if isinstance(dimension, Mapping) and ("low" in dimension or "values" in dimension)
    )
    parameters = [f"params.`{name}`" for name, _ in searched.most_common(PARAMETERS)]
    trials = ["tags.`loss`", f"metrics.`{objective}`", f"metrics.`{objective}_std`", *parameters, "tags.`source`"]
    finals = ["tags.`loss`", f"metrics.`test_{objective}`", "tags.`source`", "tags.`fold`", "tags.`seed`", *parameters]
    views = {
        "trials": _state(trials, "tags.kind = 'trial'", objective),
        "finals": _state(finals, "tags.kind != 'trial'", f"test_{objective}"),
    }
    return {TAG + name: json.dumps(state) for name, state in views.items()}


def _state(columns: list[str], search: str, metric: str) -> dict[str, Any]:
    """A state of MLflow's runs page: every field it reads, as its own defaults are where we have no wish."""
    columns = [*columns, "metrics.`seconds`"]
    return {
        "selectedColumns": columns, "columnOrder": columns, "searchFilter": search,
        "orderByKey": f"metrics.`{metric}`", "orderByAsc": not higher_is_better(metric.removeprefix("test_")),
        "startTime": "ALL", "lifecycleFilter": "Active", "datasetsFilter": [], "modelVersionFilter": "All Runs",
        "runsExpanded": {}, "runsPinned": [], "runsHidden": [], "hideEmptyCharts": True,
    }  # fmt: skip


def view_link(server: str, experiment_id: str, view: str) -> str:
    """Return the address of a shared view on an MLflow server.

    >>> view_link("http://127.0.0.1:5000/", "1", "trials")
    'http://127.0.0.1:5000/#/experiments/1/runs?viewStateShareKey=trials'
    """
    return f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs?viewStateShareKey={view}"


def view_links(server: str) -> str:
    """Return the addresses worth opening on the dashboard of a store, one a line."""
    charts = f"{server}/#/experiments/{LOCAL_EXPERIMENT}/runs?compareRunsMode=CHART"
    return (
        f"all trials, the best first:  {view_link(server, LOCAL_EXPERIMENT, 'trials')}\n"
        f"finals and baselines:        {view_link(server, LOCAL_EXPERIMENT, 'finals')}\n"
        f"all trials, as charts:       {charts}&searchFilter=tags.kind%20%3D%20%27trial%27"
    )


def where_to_browse(store: Path, tracking_uri: str | None, experiment_id: str | None) -> str:
    """Say where the trials of a study stand: on the server they were logged to, or on the store's own dashboard."""
    if tracking_uri is None:
        return f"mlcompare dashboard {quote(str(store))}  (then {view_link(LOCAL_SERVER, LOCAL_EXPERIMENT, 'trials')})"
    if experiment_id is None or not tracking_uri.startswith("http"):
        return tracking_uri
    return view_link(tracking_uri, experiment_id, "trials")
