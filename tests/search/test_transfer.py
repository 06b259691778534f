"""A search that learns from other situations: as far as its own trials agree, and the same after any interruption."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcompare import load_results, run_study
from mlcompare.search.earlier import Earlier
from mlcompare.search.proposals import Told, propose
from mlcompare.search.space import Choice, Range
from mlcompare.search.transfer import Transfer
from mlcompare.study.journal import read_journal

SPACE = {
    "lr": Range(1e-4, 1e-1, 1e-3, log=True),
    "margin": Range(0.0, 1.0, 0.5),
    "k": Choice((1, 2, 4), 4),
    "scale": 30.0,
}


def score(values: dict, lr: float, margin: float) -> float:
    return float(np.exp(-((np.log10(values["lr"]) - lr) ** 2) - 4 * (values["margin"] - margin) ** 2))


def situation(name: str, lr: float, margin: float, seed: int = 0) -> Earlier:
    rng = np.random.default_rng(seed)
    found = tuple(
        {"lr": float(10 ** rng.uniform(-4, -1)), "margin": float(rng.uniform()), "k": int(rng.choice([1, 2, 4]))}
        for _ in range(120)
    )
    return Earlier(name, found, np.array([score(values, lr, margin) for values in found]))


def searched(transfer: Transfer, lr: float, margin: float, trials: int) -> list[float]:
    """Return the score of each trial of a search, the default first."""
    tried = [{"lr": 1e-3, "margin": 0.5, "k": 4, "scale": 30.0}]
    scores = [score(tried[0], lr, margin)]
    for _ in range(trials - 1):
        values, _ = transfer.next(tried, scores)
        tried.append(values)
        scores.append(score(values, lr, margin))
    return scores


def test_a_situation_like_the_earlier_ones_is_solved_at_once() -> None:
    transfer = Transfer(SPACE, [situation("a", -2.0, 0.2), situation("b", -2.1, 0.25, 1)])
    assert searched(transfer, -2.05, 0.22, 3)[1] > 0.95


def test_of_two_earlier_situations_the_one_that_agrees_is_believed() -> None:
    transfer = Transfer(SPACE, [situation("alike", -2.0, 0.1), situation("other", -4.0, 0.9, 1)])
    assert max(searched(transfer, -2.0, 0.1, 6)) > 0.95


def test_earlier_situations_that_mislead_are_overcome() -> None:
    transfer = Transfer(SPACE, [situation("a", -4.0, 1.0), situation("b", -3.9, 0.9, 1)])
    assert max(searched(transfer, -1.5, 0.1, 25)) > 0.9


def test_nothing_is_asked_twice_and_all_lies_in_the_space() -> None:
    transfer = Transfer(SPACE, [situation("a", -2.0, 0.2)])
    tried, scores = [{"lr": 1e-3, "margin": 0.5, "k": 4, "scale": 30.0}], [0.1]
    for _ in range(40):
        values, expected = transfer.next(tried, scores)
        assert values not in tried
        assert np.isfinite(expected)
        assert SPACE["lr"].contains(values["lr"])
        assert SPACE["k"].contains(values["k"])
        assert values["scale"] == 30.0
        tried.append(values)
        scores.append(0.5)  # a flat objective tells nothing, and breaks nothing


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=8))
def test_shifted_and_scaled_objectives_are_searched_alike(scores: list[float]) -> None:
    """An accuracy of .9 to .95 and a MAP@R of .2 to .7 ask for the same."""
    transfer = Transfer(SPACE, [situation("a", -2.0, 0.2), situation("b", -3.0, 0.6, 1)])
    tried = list(transfer._candidates[: len(scores)])
    rounded = np.round(scores, 3)
    asked, expected = transfer.next(tried, rounded.tolist())
    moved, told = transfer.next(tried, (100 + 8 * rounded).tolist())
    if len(scores) == 1 or np.ptp(rounded) > 0.01:
        assert moved == asked
    if np.ptp(rounded) > 0.01:
        assert told == pytest.approx(100 + 8 * expected, rel=1e-6)


def test_without_situations_the_sampler_goes_on() -> None:
    transfer = Transfer(SPACE, [Earlier("few", ({"lr": 1e-3},) * 3, np.ones(3))])
    assert not transfer.knows
    proposals = propose(SPACE, [], range(3), transfer=transfer, seed_parts=("x",), trials=6)
    assert [p.source for p in proposals] == ["default", "sampled", "sampled"]


@pytest.mark.parametrize("maximize", [True, False])
def test_rounds_failures_and_races_are_told(maximize: bool) -> None:
    transfer, sign = Transfer(SPACE, [situation("a", -2.0, 0.2)]), 1 if maximize else -1
    options = {"transfer": transfer, "seed_parts": ("x",), "trials": 12, "maximize": maximize}
    first = propose(SPACE, [], range(4), **options)
    assert len({repr(p.values) for p in first}) == 4, "what is running is not asked again"
    told = [Told(p.number, p.values, sign * score(p.values, -2.0, 0.2)) for p in first]
    told[1] = Told(1, first[1].values, None)
    told[2] = Told(2, first[2].values, told[2].objective, stopped_after=1)
    again = propose(SPACE, told, [4], **options)
    assert again == propose(SPACE, told[::-1], [4], **options), "the order of telling means nothing"
    assert again[0].values not in [p.values for p in first]


def test_a_study_that_is_cut_off_asks_the_same(tmp_path) -> None:
    study = {
        "name": "tiny", "dataset": "digits", "protocol": {"test_classes": 0.4, "folds": 2},
        "encoder": {"name": "linear", "embedding_dim": 8},
        "training": {"steps": 4, "classes_per_batch": 3, "samples_per_class": 4},
        "search": {"trials": 6, "parallel": 2, "start": "priors"}, "final": {"seeds": 1}, "baselines": "none",
        "losses": {"contrastive": None, "arcface": None, "circle": None},
    }  # fmt: skip
    run_study(study, tmp_path / "whole", executor="in-process")
    journal = tmp_path / "whole" / "journal.jsonl"
    asked = [r for r in read_journal(journal) if r["type"] == "ask"]
    assert {r["source"] for r in asked} == {"default", "prior"}
    lines, expected = journal.read_bytes().splitlines(keepends=True), load_results(tmp_path / "whole")
    for kept in (3, len(lines) // 2):
        journal.write_bytes(b"".join(lines[:kept]))
        run_study(study, tmp_path / "whole", executor="in-process")
        unstable = ["seconds", "peak_memory"]
        assert load_results(tmp_path / "whole").drop(columns=unstable).equals(expected.drop(columns=unstable))
