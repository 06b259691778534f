"""What `check` says of the time of baselines, with a clock that only learning and embedding move."""

from __future__ import annotations

import pytest
import torch

from mlcompare.study import baseline_costs, make_plan
from mlcompare.study.config import validated
from mlcompare.training import BASELINES
from mlcompare.training.baselines import MOST_WORK, baselines_of, register_baseline, svm_size


class Clock:
    """Seconds that pass only where a baseline says so."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(baseline_costs, "time", clock)
    return clock


def counted(name: str, clock: Clock, *, learning: float, embedding: float, **kind: bool) -> None:
    """Register a baseline that takes so many seconds for each row that it learns from, and for each that it embeds."""

    @register_baseline(name, **kind)
    def factory(job, data):
        clock.now += learning * len(data.splits.folds[job.fold].train)

        def embed_rows(rows):
            clock.now += embedding * len(rows)
            return torch.ones(len(rows), 2)

        return embed_rows


@pytest.fixture
def plan_with(tiny: dict, monkeypatch):
    monkeypatch.setattr(BASELINES, "_records", dict(BASELINES._records))  # what a test registers ends with it

    def build(*names: str):
        return make_plan(validated({**tiny, "baselines": list(names)}, "study"))

    return build


def test_what_learns_nothing_takes_what_embedding_all_sealed_samples_takes(clock: Clock, plan_with) -> None:
    counted("still", clock, learning=0.0, embedding=0.5, fitted=False)
    plan = plan_with("still")
    sealed = len(plan.data.splits.test)
    assert baseline_costs.baseline_seconds(plan, 3.0) == pytest.approx(0.5 * sealed + 3.0)


def test_what_learns_does_so_on_every_fold(clock: Clock, plan_with) -> None:
    counted("learner", clock, learning=1.0, embedding=0.0)
    plan = plan_with("learner")
    found = baseline_costs.baseline_seconds(plan, 0.0)
    samples = len(plan.data.splits.folds[0].train)
    assert found >= len(plan.folds) * samples * 0.99, "at least what grows with the samples"


def test_an_svm_grows_with_samples_classes_and_features_up_to_its_bound(clock: Clock, plan_with, monkeypatch) -> None:
    counted("decider", clock, learning=1.0, embedding=0.0, decides=True)
    plan = plan_with("decider")
    job = plan.baseline_jobs()[0]
    few = baseline_costs._few(job, plan.data)
    (n, c, f), (m, d, g) = svm_size(job, plan.data), svm_size(job, few)
    assert f == g
    assert n * c * f < MOST_WORK
    assert m == len(few.splits.folds[0].train) < n
    expected = m * (n * c) / (m * d)
    assert baseline_costs.baseline_seconds(plan, 0.0) == pytest.approx(len(plan.folds) * expected)
    monkeypatch.setattr(baseline_costs, "MOST_WORK", n * c * f // 2)
    monkeypatch.setattr(baseline_costs, "FEWEST_AXES", 1)
    bounded = baseline_costs.baseline_seconds(plan, 0.0)
    assert bounded == pytest.approx(len(plan.folds) * expected / 2, rel=0.01), "components cost nothing on this clock"


def test_a_baseline_that_fails_costs_nothing_and_stops_nothing(plan_with) -> None:
    @register_baseline("broken_one")
    def factory(job, data):
        raise ValueError("no")

    plan = plan_with("broken_one")
    assert baseline_costs.baseline_seconds(plan, 0.0) == 0.0


def test_every_baseline_has_a_time(plan_with) -> None:
    for name in baselines_of(plan_with("pca").data.dataset):
        plan = plan_with(name)
        assert baseline_costs.baseline_seconds(plan, 0.0) > 0, name
