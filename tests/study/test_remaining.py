"""What is left of a study is counted by kind and loss, and timed by what such trainings took."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import pytest
from rich.console import Console

from mlcompare.execution.executors import InProcessExecutor
from mlcompare.study import Store, make_plan
from mlcompare.study.coordinator import Coordinator
from mlcompare.study.progress import ProgressObserver
from mlcompare.study.remaining import Remaining, left_of, seconds_left

DONE = [
    {"kind": "trial", "loss": "quick", "seconds": 1.0},
    {"kind": "trial", "loss": "slow", "seconds": 8.0},
    {"kind": "trial", "loss": "slow", "seconds": 12.0},
    {"kind": "final", "loss": "quick", "seconds": 2.0},
]


@pytest.mark.parametrize(
    ("left", "seconds"),
    [
        ({("trial", "slow"): 3}, 30.0),
        ({("trial", "quick"): 3}, 3.0),
        ({("final", "slow"): 2}, 20.0),  # as the loss's trials
        ({("final", "new"): 2}, 4.0),  # as other losses' finals
        ({("baseline", "pca"): 4}, 23.0),  # as the mean of all
        ({}, 0.0),
    ],
)
def test_what_is_left_takes_what_its_like_took(left: dict, seconds: float) -> None:
    assert seconds_left(left, DONE) == pytest.approx(seconds)
    assert seconds_left(left, []) == 0.0


class Watch:
    """Notes after every training how many are left of each kind."""

    def __init__(self) -> None:
        self.seen: list[dict] = []

    def job_done(self, record: dict) -> None:
        self.seen.append(left_of(self.coordinator))

    def trial_done(self, *_told: object) -> None: ...


@pytest.mark.parametrize("populations", [False, True])
def test_everything_is_counted_down_to_nothing(tiny: dict, tmp_path: Path, populations: bool) -> None:
    tiny |= {"search": {**tiny["search"], "racing": "folds", "trials": 4}, "baselines": ["pca", "raw_pixels"]}
    plan, watch = make_plan(tiny), Watch()
    with Store(tmp_path / "store") as store:
        watch.coordinator = Coordinator(plan, store, InProcessExecutor(plan.data), [watch], populations=populations)
        assert left_of(watch.coordinator).total() == sum(plan.count().values())
        watch.coordinator.run()
        again = Coordinator(plan, store, InProcessExecutor(plan.data), [])
        assert not left_of(again)
        assert Remaining(again).total == len(again.done)
    assert not watch.seen[-1]
    totals = [left.total() for left in watch.seen]
    assert all(after < before for before, after in itertools.pairwise(totals))


def test_a_log_tells_what_is_left_and_ends_with_all(tiny: dict, tmp_path: Path) -> None:
    plan, shown = make_plan(tiny), io.StringIO()
    with Store(tmp_path / "store") as store:
        coordinator = Coordinator(plan, store, InProcessExecutor(plan.data), [])
        progress = ProgressObserver(Console(file=shown, width=200), Remaining(coordinator), 0)
        coordinator.observers.append(progress)
        coordinator.run()
    lines = shown.getvalue().splitlines()
    count = len(coordinator.done)
    assert lines[-1].startswith(f"{count}/{count} trainings, best so far: ")
