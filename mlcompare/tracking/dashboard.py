"""How a study's runs are laid out in the MLflow dashboard: few columns, useful ones first, kept as shared views."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

from mlcompare.metrics import higher_is_better
from mlcompare.tracking.origin import FINGERPRINT
from mlcompare.tracking.parameters import LEADING

__all__ = ["TRAINING", "page_address", "shared_views", "view_link", "view_links", "view_name", "where_to_browse"]

MORE = 4  # columns of other hyperparameters at most: those that most losses search
TAG = "mlflow.sharedViewState."
LOCAL_SERVER, LOCAL_EXPERIMENT = "http://127.0.0.1:5000", "1"  # of `mlcompare dashboard`
TRAINING = "workflowType=machine_learning"  # without it MLflow opens on traces of language models
BY_LOSS = {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "loss"}]}
BESIDE = ["attributes.`Run Name`", "runDateAndNestInfo"]  # always there: name and status, with the date
WIDTHS = {
    BESIDE[0]: 138, BESIDE[1]: 44, "tags.`loss`": 104, "tags.`family`": 66, "metrics.`seconds`": 70, "params.`lr`": 78,
}  # fmt: skip
SCORE, LEAD, NARROW = 86, 64, 78  # pixels of the objective, of m to α, of others: 1300 hold three margins to lr


def shared_views(
    objective: str,
    spaces: Mapping[str, Mapping[str, Any]],
    names: Mapping[str, Mapping[str, str]] | None = None,
    fingerprint: str = "",
) -> dict[str, str]:
    """Return the experiment tags that MLflow reads as shared views: ``trials``, ``finals`` and ``charts``.

    Args:
        objective: the study's objective; the runs are sorted by it, the best first.
        spaces: the search space of each loss, as the store's ``study.json`` has them.
        names: loss → hyperparameter → the name that it is logged under.
        fingerprint: where other studies of this name may log to the same server: the views are of this one's runs.

    >>> sorted(shared_views("map_at_r", {"cosface": {"margin": {"low": 0, "high": 1}, "scale": 16}}))
    ['mlflow.sharedViewState.charts', 'mlflow.sharedViewState.finals', 'mlflow.sharedViewState.trials']
    """
    parameters = [f"params.`{name}`" for name in _columns(spaces, names or {})]
    said, source = ["tags.`loss`", "tags.`family`"], "tags.`source`"
    test, std = f"metrics.`test_{objective}`", f"metrics.`{objective}_std`"
    trials = [*said, f"metrics.`{objective}`", "metrics.`seconds`", *parameters, source, std]
    finals = [*said, test, "metrics.`seconds`", *parameters, source, "tags.`fold`", "tags.`seed`"]
    own = f" AND tags.{FINGERPRINT} = '{fingerprint}'" if fingerprint else ""
    views = {
        "trials": _state(trials, "tags.kind = 'trial'" + own, objective),
        "finals": _state(finals, "tags.kind != 'trial'" + own, f"test_{objective}"),
        "charts": {**_state(trials, "tags.kind = 'trial'" + own, objective), "groupBy": BY_LOSS},
    }
    return {TAG + view_name(name, fingerprint): json.dumps(state) for name, state in views.items()}


def view_name(view: str, fingerprint: str = "") -> str:
    """Return the name that a view is shared under.

    >>> view_name("trials", "0123456789abcdef")
    'trials-01234567'
    """
    return f"{view}-{fingerprint[:8]}" if fingerprint else view


def _columns(spaces: Mapping[str, Mapping[str, Any]], names: Mapping[str, Mapping[str, str]]) -> list[str]:
    """The logged names worth a column: m, s, λ, α and the learning rate first, then what most losses search."""
    there = {names.get(loss, {}).get(name, name) for loss, space in spaces.items() for name in space}
    searched = Counter(
        names.get(loss, {}).get(name, name)
        for loss, space in spaces.items()
        for name, dimension in space.items()
        if isinstance(dimension, Mapping) and ("low" in dimension or "values" in dimension)
    )
    leading = [name for name in LEADING if name in there]
    return leading + [name for name, _ in searched.most_common() if name not in leading][:MORE]


def _state(columns: list[str], search: str, metric: str) -> dict[str, Any]:
    """A state of MLflow's runs page: every field it reads, as its own defaults are where we have no wish.

    Where one is missing, a view with charts may be drawn for ever.
    """
    leading = {f"params.`{name}`" for name in LEADING}
    widths = {column: LEAD if column in leading else NARROW for column in columns if column.startswith("params.")}
    order = [*BESIDE, *columns]
    widths |= {column: width for column, width in WIDTHS.items() if column in order}
    widths[f"metrics.`{metric}`"] = SCORE
    return {
        "selectedColumns": columns, "columnOrder": order, "columnWidths": widths, "searchFilter": search,
        "orderByKey": f"metrics.`{metric}`", "orderByAsc": not higher_is_better(metric.removeprefix("test_")),
        "startTime": "ALL", "lifecycleFilter": "Active", "datasetsFilter": [], "modelVersionFilter": "All Runs",
        "runsExpanded": {}, "runsPinned": [], "runsHidden": [], "runsVisibilityMap": {},
        "runsHiddenMode": "FIRST_20_RUNS", "hideEmptyCharts": True, "groupBy": None, "groupsExpanded": {},
        "useGroupedValuesInCharts": True, "autoRefreshEnabled": True, "isAccordionReordered": False,
        "viewMaximized": False, "runListHidden": False,
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }  # fmt: skip


def page_address(experiment_id: str, view: str, *, charts: bool = False) -> str:
    """Return the address of a shared view below an MLflow server's own.

    >>> page_address("1", "trials")
    '#/experiments/1/runs?viewStateShareKey=trials&workflowType=machine_learning'
    """
    mode = "&compareRunsMode=CHART" if charts else ""
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={view}{mode}&{TRAINING}"


def view_link(server: str, experiment_id: str, view: str, *, charts: bool = False) -> str:
    """Return the address of a shared view on an MLflow server.

    >>> view_link("http://127.0.0.1:5000/", "1", "trials")
    'http://127.0.0.1:5000/#/experiments/1/runs?viewStateShareKey=trials&workflowType=machine_learning'
    """
    return f"{server.rstrip('/')}/{page_address(experiment_id, view, charts=charts)}"


def view_links(server: str) -> str:
    """Return the addresses worth opening on the dashboard of a store, one a line."""
    return (
        f"all trials, the best first:  {view_link(server, LOCAL_EXPERIMENT, 'trials')}\n"
        f"finals and baselines:        {view_link(server, LOCAL_EXPERIMENT, 'finals')}\n"
        f"charts, grouped by loss:     {view_link(server, LOCAL_EXPERIMENT, 'charts', charts=True)}"
    )


def where_to_browse(store: Path, tracking_uri: str | None, experiment_id: str | None, fingerprint: str = "") -> str:
    """Say where the trials of a study stand: on the server they were logged to, or on the store's own dashboard."""
    if tracking_uri is None:
        return f"mlcompare dashboard {quote(str(store))}  (then {view_link(LOCAL_SERVER, LOCAL_EXPERIMENT, 'trials')})"
    if experiment_id is None or not tracking_uri.startswith("http"):
        return tracking_uri
    return view_link(tracking_uri, experiment_id, view_name("trials", fingerprint))
