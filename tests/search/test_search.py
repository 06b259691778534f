"""What is tried next depends on the journal alone."""

from __future__ import annotations

import numpy as np
import pytest

from mlcompare.losses.compose import LossEntry, Term
from mlcompare.search.proposals import Start, Told, default_values, propose
from mlcompare.search.space import Choice, Range, loss_space
from mlcompare.search.training_space import training_space

SPACE = {
    "lr": Range(1e-4, 1e-1, 1e-3, log=True),
    "margin": Range(0.0, 0.6, 0.35),
    "m": Range(1, 4, 2, integer=True),
    "sampling": Choice(("all", "hard"), "all"),
    "scale": 30.0,
}
OPTIONS = {"seed_parts": ("x", 0), "trials": 12, "startup_trials": 3}


def objective(values: dict) -> float:
    return -((np.log10(values["lr"]) + 2) ** 2) - (values["margin"] - 0.2) ** 2 + (values["sampling"] == "hard")


def tell(proposals) -> list[Told]:
    return [Told(p.number, p.values, objective(p.values)) for p in proposals]


def search(rounds: int, parallel: int, told: list[Told]) -> list[Told]:
    while len(told) < rounds * parallel:
        numbers = range(len(told), len(told) + parallel)
        told = told + tell(propose(SPACE, told, numbers, **OPTIONS))
    return told


def test_an_interrupted_search_asks_the_same() -> None:
    whole = search(4, 3, [])
    for cut in range(4):
        assert search(4, 3, whole[: 3 * cut]) == whole
    last = propose(SPACE, whole[:9], [11], **OPTIONS)
    assert last[0].values == whole[11].values, "a round can be taken up in its middle"


def test_trial_zero_is_the_papers_setting_then_published_ones_in_range() -> None:
    published = [{"margin": 0.9}, {"margin": 0.5}, {"margin": 0.35}, {"margin": 0.1, "scale": 30.0}, {"scale": 64.0}]
    first = [Start(setting, "published") for setting in published]
    proposals = propose(SPACE, [], range(4), first=first, seed_parts=("x",), trials=15)
    assert [p.source for p in proposals] == ["default", "published", "published", "sampled"]
    assert proposals[0].values == default_values(SPACE)
    assert [p.values["margin"] for p in proposals[1:3]] == [0.5, 0.1]
    few = propose(SPACE, [], range(2), first=first, seed_parts=("x",), trials=2)
    assert [p.source for p in few] == ["default", "sampled"], "published settings take a third of the trials at most"


def test_what_is_known_is_tried_in_its_order_each_with_its_source() -> None:
    first = [Start({"margin": 0.1}, "prior"), Start({"margin": 0.1, "m": 2}, "published"), Start({"m": 3}, "published")]
    proposals = propose(SPACE, [], range(4), first=first, seed_parts=("x",), trials=12)
    assert [p.source for p in proposals] == ["default", "prior", "published", "sampled"]
    assert proposals[2].values == {**default_values(SPACE), "m": 3}, "the same setting is tried once, as the first is"


def test_values_stay_in_range_and_fixed_ones_fixed() -> None:
    for trial in search(6, 2, []):
        assert 1e-4 <= trial.values["lr"] <= 1e-1
        assert trial.values["m"] in (1, 2, 3, 4)
        assert trial.values["sampling"] in ("all", "hard")
        assert trial.values["scale"] == 30.0


def test_failed_trials_are_told_as_failed() -> None:
    told = [Told(0, default_values(SPACE), None)]
    assert propose(SPACE, told, [1], **OPTIONS)[0].source == "sampled"


def test_nothing_to_search_repeats_the_default() -> None:
    proposal = propose({"scale": 30.0}, [], [5], **OPTIONS)[0]
    assert proposal.values == {"scale": 30.0}


def test_spaces_come_from_the_registry_and_the_study() -> None:
    entry = LossEntry("cosface", "single", (Term("cosface"),))
    space = loss_space(entry, {"margin": {"low": 0.4, "high": 0.5}, "scale": 16})
    assert space["margin"] == Range(0.4, 0.5, 0.4, minimum=0.0), "the paper's default is moved into the given range"
    assert space["scale"] == 16.0
    assert training_space({"lr": {"low": 1e-4, "high": 1e-1, "log": True}}, {})["lr"].default == 1e-3
    assert training_space({"lr": [0.1, 0.01]}, {})["lr"] == Choice((0.1, 0.01), 0.1)
    assert training_space({"lr": 0.1}, {}) == {"lr": 0.1}


def test_a_sum_names_its_hyperparameters_apart() -> None:
    entry = LossEntry("x", "sum", (Term("softmax"), Term("center_term"), Term("ring_term")))
    space = loss_space(entry, {"center_term_weight": 0.1})
    assert space["center_term_weight"] == 0.1
    assert isinstance(space["ring_term_weight"], Range)


@pytest.mark.parametrize("maximize", [True, False])
def test_tpe_finds_better_than_its_start(maximize: bool) -> None:
    space = {"x": Range(0.0, 1.0, 0.9)}
    sign = 1 if maximize else -1
    told: list[Told] = []
    while len(told) < 30:
        proposals = propose(space, told, [len(told)], seed_parts=("y",), trials=30, maximize=maximize)
        told += [Told(p.number, p.values, -sign * (p.values["x"] - 0.3) ** 2) for p in proposals]
    distances = [abs(t.values["x"] - 0.3) for t in told]
    assert np.mean(distances[-15:]) < 0.2, "uniform draws would be .29 away on average"
    assert min(distances) < 0.03
