"""How long a running study still takes: what is left by kind and loss, at what such trainings took so far."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from mlcompare.study.coordinator import Coordinator

__all__ = ["Remaining", "left_of", "seconds_left"]

CLOSING = 8.0  # seconds for tables, MLflow's last runs and the report
Kind = tuple[str, str]  # trial, final or baseline; the loss's or the baseline's name


def left_of(coordinator: Coordinator) -> Counter[Kind]:
    """Return how many trainings of each kind and loss are left, at most: races may spare some of them."""
    plan, final = coordinator.plan, coordinator.plan.config.final
    trials, folds = plan.config.search.trials, len(plan.folds)
    left: Counter[Kind] = Counter((job.kind, job.name) for job in plan.baseline_jobs())
    for loss in plan.losses:
        opened = coordinator.opened.get(loss, {})
        settings = min(trials, 2)
        if opened.get("trials") == trials:
            settings = len({trial for trial in opened["settings"].values() if trial is not None})
        left["trial", loss] = trials * folds
        left["final", loss] = settings * folds * final.seeds
    left.subtract((record["kind"], record["loss"]) for record in coordinator.done.values())
    for (loss, _), stop in coordinator.stopped.items():
        left["trial", loss] -= folds - stop["folds"]
    return +left


def seconds_left(left: Mapping[Kind, int], done: Iterable[Mapping[str, Any]]) -> float:
    """Return the seconds of the trainings that are left, were each to train alone.

    One of a kind and loss takes the mean of those that are done; where there is none, that of its loss, of its kind, or
    of all.

    >>> done = [{"kind": "trial", "loss": "a", "seconds": 1.0}, {"kind": "trial", "loss": "b", "seconds": 9.0}]
    >>> seconds_left({("trial", "a"): 2, ("final", "b"): 1}, done)
    11.0
    """
    seen: dict[Any, list[float]] = defaultdict(list)
    for record in done:
        kind, loss = record["kind"], record["loss"]
        for key in ((kind, loss), loss, ("kind", kind), None):
            seen[key].append(record["seconds"])
    total = 0.0
    for (kind, loss), count in left.items():
        key = next((key for key in ((kind, loss), loss, ("kind", kind), None) if key in seen), None)
        total += count * sum(seen[key]) / max(len(seen[key]), 1)
    return total


class Remaining:
    """What a coordinator has left, and the seconds that it takes at the pace since this was made."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator, self._before = coordinator, len(coordinator.done)
        self._began = time.monotonic()

    @property
    def total(self) -> int:
        """All trainings, those that are done too, without those that races have spared."""
        return len(self._coordinator.done) + left_of(self._coordinator).total()

    def seconds(self) -> float | None:
        """Return the seconds until the end, the report included; None before anything is done."""
        records = list(self._coordinator.done.values())
        trained = sum(record["seconds"] for record in records[self._before :])
        if not trained:
            return None
        pace = (time.monotonic() - self._began) / trained  # below 1 where several train at a time
        return pace * seconds_left(left_of(self._coordinator), records) + CLOSING
