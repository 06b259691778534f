"""The luck of a search: against drawn resamples, its limits, and what is said of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcompare.comparison import compare, next_steps
from mlcompare.comparison.given import complete_tables
from mlcompare.comparison.search_luck import STRETCH, luck_by_loss, luck_margin, luck_note, search_luck
from mlcompare.comparison.trials import trial_scores

SCORES = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=12)


@pytest.mark.parametrize("whole", [12, 5, 1])
def test_it_is_the_spread_of_the_winner_among_resampled_trials(whole: int) -> None:
    """Drawn: of twelve trials, of which some were stopped and can't win, and draws of those alone don't count."""
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.random(whole), np.full(12 - whole, -np.inf)])
    winners = rng.choice(scores, size=(200_000, 12)).max(axis=1)
    drawn = STRETCH * winners[np.isfinite(winners)].std()
    assert search_luck(scores[:whole], 12) == pytest.approx(drawn, abs=1e-3)


@given(SCORES, st.floats(-5, 5), st.integers(0, 20))
def test_only_distances_between_trials_count(scores: list[float], shift: float, stopped: int) -> None:
    trials = len(scores) + stopped
    luck = search_luck(scores, trials)
    if trials < 2:
        assert luck is None
        return
    assert luck == pytest.approx(search_luck([shift + 3 * score for score in reversed(scores)], trials) / 3, abs=1e-6)
    assert 0 <= luck <= STRETCH * (max(scores) - min(scores)) / 2 + 1e-9


def test_nothing_is_told_without_a_search() -> None:
    assert search_luck([]) is None
    assert search_luck([], 12) is None
    assert search_luck([0.5]) is None
    assert luck_margin(None, 0.1) is None
    assert luck_margin(0.3, 0.4) == pytest.approx(0.98, abs=1e-3)
    assert luck_margin(0.3, 0.4, 0.5) < luck_margin(0.3, 0.4, 0.99)


def table(trials: dict[str, list[float]], finals: dict[str, float], metric: str = "map_at_r") -> pd.DataFrame:
    """A study of four folds whose final scores differ by a little noise."""
    rng, rows = np.random.default_rng(1), []
    families = dict(zip(trials, ("margin", "metric", "metric")))
    for loss, scores in trials.items():
        for trial, score in enumerate(scores):
            rows += [(loss, families[loss], "trial", trial, fold, 0, "validation", score + 0.01 * fold)
                     for fold in range(4)]  # fmt: skip
        rows += [(loss, families[loss], "final", 0, fold, seed, "test", finals[loss] + 0.002 * rng.normal())
                 for fold in range(4) for seed in range(3)]  # fmt: skip
    names = ["loss", "family", "kind", "trial", "fold", "seed", "split", "value"]
    frame = pd.DataFrame(rows, columns=names).assign(metric=metric, source="selected")
    frame = frame.assign(source=frame["source"].where(frame["kind"] == "final", "tpe"))
    return complete_tables(frame, None)[0]


LUCKY, SURE = [0.7, 0.6, 0.5, 0.4], [0.7, 0.699, 0.698, 0.697]


def test_what_is_told_apart_within_the_luck_of_the_search_is_said() -> None:
    found = compare(table({"a": SURE, "b": LUCKY, "c": SURE}, {"a": 0.70, "b": 0.66, "c": 0.64}))
    rows = {row["loss"]: row for row in found.records()}
    assert rows["b"]["indistinguishable_from_best"] is rows["c"]["indistinguishable_from_best"] is False
    (note,) = [note for note in found.notes if note.startswith("Luck of the search")]
    assert "b is told apart from a, but another search of 4 trials may change that difference by ±" in note
    margin = luck_margin(rows["a"]["search_luck"], rows["b"]["search_luck"])
    assert f"±{margin:.3f}" in note
    pairs = found.pairwise.set_index(["a", "b"])["search_margin"]
    assert pairs["a", "b"] == pytest.approx(margin)
    assert pairs["a", "c"] < 0.01


def test_what_may_be_luck_is_searched_again_and_not_left_out() -> None:
    results = table({"a": SURE, "b": LUCKY, "c": SURE}, {"a": 0.70, "b": 0.66, "c": 0.64})
    steps = next_steps(compare(results), results, "map_at_r")
    (again,) = [step for step in steps if step.startswith("Another search")]
    assert "the lead over b is within" in again
    (fewer,) = [step for step in steps if step.startswith("Fewer losses")]
    assert fewer.startswith("Fewer losses: c is told apart")


def test_nothing_is_said_where_differences_are_larger_or_not_told_apart() -> None:
    for finals in ({"a": 0.70, "b": 0.30, "c": 0.64}, {"a": 0.70, "b": 0.6999, "c": 0.64}):
        found = compare(table({"a": SURE, "b": LUCKY, "c": SURE}, finals))
        assert not [note for note in found.notes if note.startswith("Luck of the search")], finals


def test_a_metric_where_lower_is_better_has_the_same_luck() -> None:
    up = table({"a": SURE, "b": LUCKY}, {"a": 0.7, "b": 0.6})
    down = up.assign(metric="eer", value=1 - up["value"])
    low, high = luck_by_loss(trial_scores(down), higher=False), luck_by_loss(trial_scores(up))
    assert low == pytest.approx(high)


def test_another_metric_than_the_tuned_one_has_none() -> None:
    results = table({"a": SURE, "b": LUCKY}, {"a": 0.7, "b": 0.6})
    other = results[results["kind"] == "final"].assign(metric="recall_at_1")
    found = compare(pd.concat([results, other]), metric="recall_at_1", objective="map_at_r")
    assert {row["search_luck"] for row in found.records()} == {None}
    assert found.pairwise["search_margin"].isna().all()


def test_a_nested_study_has_none_as_its_intervals_count_it() -> None:
    results = table({"a": SURE, "b": LUCKY, "c": SURE}, {"a": 0.70, "b": 0.66, "c": 0.64})
    parts = []
    for number in range(3):
        part = results.assign(fold=results["fold"] + 4 * number)
        parts.append(part.assign(trial=part["trial"] + 4 * number))
    found = compare(pd.concat(parts, ignore_index=True))
    assert {row["search_luck"] for row in found.records()} == {None}
    assert not [note for note in found.notes if note.startswith("Luck of the search")]


def test_failed_and_stopped_trials_count_as_trials_that_cannot_win() -> None:
    results = table({"a": LUCKY}, {"a": 0.7})
    gone = (results["trial"] == 3) & (results["kind"] == "trial")
    for status in ("stopped", "failed"):
        found = luck_by_loss(trial_scores(results.assign(status=np.where(gone, status, "ok"))))
        assert found["a"] == pytest.approx(search_luck([score + 0.015 for score in LUCKY[:3]], 4))


def test_without_a_best_loss_there_is_no_note() -> None:
    assert luck_note([], None, 0.95) is None
