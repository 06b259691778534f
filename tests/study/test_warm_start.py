"""A search that starts from earlier stores: what is taken, what is said, and that an interruption changes nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from pandas.testing import assert_frame_equal

from mlcompare import load_results, run_study
from mlcompare.errors import StoreError
from mlcompare.search.earlier import Earlier, gains, portfolio
from mlcompare.search.space import Choice, Range
from mlcompare.study.journal import read_journal

SPACE = {"lr": Range(1e-4, 1e-1, 1e-3, log=True), "k": Choice((1, 2, 4), 4), "scale": 30.0}


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.study.conftest import TINY

    store = tmp_path_factory.mktemp("earlier") / "store"
    run_study({**TINY, "name": "earlier", "search": {"trials": 6, "parallel": 6}}, store, executor="in-process")
    return store


def later(tiny: dict) -> dict:
    return {**tiny, "name": "later", "search": {"trials": 6, "parallel": 2}}


def asked(store: Path, loss: str) -> list[dict]:
    return [r for r in read_journal(store / "journal.jsonl") if r["type"] == "ask" and r["loss"] == loss]


def test_the_best_earlier_settings_are_tried_first(tiny: dict, earlier: Path, tmp_path: Path) -> None:
    store = tmp_path / "later"
    run_study(later(tiny), store, executor="in-process", start_from=[earlier])
    record = next(r for r in read_journal(store / "journal.jsonl") if r["type"] == "start")
    assert record["stores"][0]["study"] == "earlier"
    assert record["stores"][0]["trials"] == {"contrastive": 6, "cosface": 6}
    for loss in ("contrastive", "cosface"):
        asks = asked(store, loss)
        assert [ask["source"] for ask in asks[:3]] == ["default", "earlier", "earlier"]
        before = [ask["hyperparameters"] for ask in asked(earlier, loss)]
        assert all(ask["hyperparameters"] in before for ask in asks[1:3])
    sources = load_results(store).query("kind == 'trial'").groupby("source")["trial"].nunique()
    assert set(sources.index) >= {"default", "earlier", "prior"}


def test_an_interrupted_search_goes_by_its_journal_though_the_earlier_store_is_gone(
    tiny: dict, earlier: Path, tmp_path: Path
) -> None:
    whole, cut, copy = tmp_path / "whole", tmp_path / "cut", tmp_path / "copy"
    shutil.copytree(earlier, copy)
    run_study(later(tiny), whole, executor="in-process", start_from=[copy])
    lines = (whole / "journal.jsonl").read_bytes().splitlines(keepends=True)
    expected = load_results(whole).drop(columns=["seconds", "peak_memory"])
    shutil.copytree(whole, cut)
    for kept in (4, len(lines) // 2):
        (cut / "journal.jsonl").write_bytes(b"".join(lines[:kept]))
        shutil.rmtree(copy, ignore_errors=True)
        run_study(later(tiny), cut, executor="in-process")
        assert_frame_equal(load_results(cut).drop(columns=["seconds", "peak_memory"]), expected)


def test_a_store_keeps_what_it_started_from(tiny: dict, earlier: Path, tmp_path: Path) -> None:
    store = tmp_path / "later"
    run_study(later(tiny), store, executor="in-process", start_from=[earlier])
    moved = tmp_path / "moved"
    shutil.copytree(earlier, moved)
    run_study(later(tiny), store, executor="in-process", start_from=[moved])  # the same store, elsewhere
    with pytest.raises(StoreError, match="keeps what it started from"):
        run_study(later(tiny), store, executor="in-process", start_from=[store])
    cold = tmp_path / "cold"
    run_study(later(tiny), cold, executor="in-process")
    with pytest.raises(StoreError, match="starts from earlier studies once"):
        run_study(later(tiny), cold, executor="in-process", start_from=[earlier])


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"search": {"trials": 6, "objective": "auc"}}, "must have tried one of these losses"),
        ({"losses": {"triplet": None}}, "must have tried one of these losses"),
    ],
)
def test_a_store_that_tells_nothing_is_refused(
    change: dict, rule: str, tiny: dict, earlier: Path, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match=rule):
        run_study({**later(tiny), **change}, tmp_path / "later", executor="in-process", start_from=[earlier])


def test_no_store_is_refused(tiny: dict, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="must be there"):
        run_study(later(tiny), tmp_path / "later", executor="in-process", start_from=[tmp_path / "nothing"])


def test_sealed_samples_that_the_earlier_search_has_seen_are_named(tiny: dict, earlier: Path, tmp_path: Path) -> None:
    same, other, untold = (tmp_path / name for name in ("same", "other", "untold"))
    run_study(later(tiny), same, executor="in-process", start_from=[earlier])
    assert not [note for note in notes(same) if "earlier" in note]
    run_study(
        {**later(tiny), "protocol": {**tiny["protocol"], "seed": 5}}, other, executor="in-process", start_from=[earlier]
    )
    assert [note for note in notes(other) if "has seen" in note and "sealed samples (" in note]
    shutil.copytree(earlier, untold)
    (untold / "artifacts" / "contents.npz").unlink()
    run_study(later(tiny), tmp_path / "third", executor="in-process", start_from=[untold])
    assert [note for note in notes(tmp_path / "third") if "can't be told" in note]


def notes(store: Path) -> list[str]:
    return json.loads((store / "artifacts" / "data_notes.json").read_text(encoding="utf-8"))


# ------------------------------------------------------------------------------------------------ the portfolio


def settings(rng: np.random.Generator, count: int) -> tuple[dict, ...]:
    return tuple({"lr": float(10 ** rng.uniform(-4, -1)), "k": int(rng.choice([1, 2, 4]))} for _ in range(count))


def scored(found: tuple[dict, ...], best: float) -> np.ndarray:
    return np.array([-((np.log10(s["lr"]) - best) ** 2) for s in found])


def test_a_portfolio_covers_every_situation() -> None:
    rng = np.random.default_rng(0)
    told = []
    for name, best in (("a", -3.0), ("b", -3.0), ("c", -1.5)):
        found = settings(rng, 60)
        told.append(Earlier(name, found, scored(found, best)))
    first, second, *_ = portfolio(SPACE, told, 4)
    assert abs(np.log10(first.values["lr"]) + 3.0) < 0.4, "what is good in most situations comes first"
    assert abs(np.log10(second.values["lr"]) + 1.5) < 0.4, "then what is good where the first is not"
    assert first.values["scale"] == 30.0
    assert portfolio(SPACE, told, 4) == portfolio(SPACE, told, 4)


def test_a_portfolio_stays_in_its_space() -> None:
    rng = np.random.default_rng(1)
    found = tuple({"lr": 10.0 ** rng.uniform(-6, 2), "k": 8, "unknown": 3} for _ in range(20))
    for suggestion in portfolio(SPACE, [Earlier("a", found, rng.normal(size=20))], 20):
        assert set(suggestion.values) == set(SPACE)
        assert SPACE["lr"].contains(suggestion.values["lr"])
        assert suggestion.values["k"] == 4


def test_a_few_or_failed_settings_tell_nothing() -> None:
    assert portfolio(SPACE, [Earlier("a", settings(np.random.default_rng(0), 3), np.ones(3))], 4) == []
    np.testing.assert_array_equal(gains(np.full(3, np.nan)), np.zeros(3))
    np.testing.assert_array_equal(gains(np.array([np.nan, 0.0, 1.0])), [0.0, 0.0, 1.0])
