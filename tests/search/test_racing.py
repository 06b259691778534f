"""Racing: stops what is behind, never the winner, and decides the same after a resume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcompare.comparison import compare, trial_scores
from mlcompare.execution.executors import InProcessExecutor
from mlcompare.report import write_report
from mlcompare.search.proposals import _known
from mlcompare.search.racing import clearly_behind, least_means, likely_behind, paired_spread
from mlcompare.study import run_study
from mlcompare.study.config import validated
from mlcompare.study.coordinator import Coordinator
from mlcompare.study.doctor import check_store
from mlcompare.study.journal import read_journal
from mlcompare.study.plan import make_plan
from mlcompare.study.store import Store

MEASURED = ["seconds", "peak_memory"]


@pytest.fixture
def race(tiny: dict) -> dict:
    """A search with hopeless learning rates among good ones."""
    return {
        **tiny,
        "losses": {"cosface": {"scale": 16}},
        "protocol": {"kind": "closed_set", "folds": 3},
        "training": {"steps": 25, "classes_per_batch": 3, "samples_per_class": 4},
        "search": {
            "trials": 14,
            "parallel": 4,
            "racing": "early",
            "objective": "accuracy",
            "space": {"lr": {"low": 1e-6, "high": 1e-1, "log": True}},
        },
    }


def records(store: Path, kind: str) -> list[dict]:
    return [record for record in read_journal(store / "journal.jsonl") if record["type"] == kind]


def test_on_by_default_where_enough_trials_tell_the_noise(tiny: dict, tmp_path: Path) -> None:
    assert validated(tiny, "study").search.racing == "early"
    run_study(tiny, tmp_path / "store", executor="in-process")
    assert records(tmp_path / "store", "stop") == []


@pytest.mark.parametrize("racing", ["early", "folds"])
def test_a_race_saves_folds_and_never_stops_what_is_selected(race: dict, tmp_path: Path, racing: str) -> None:
    race["search"]["racing"], store = racing, tmp_path / "store"
    run_study(race, store, executor="in-process")
    stops, jobs = records(store, "stop"), [r for r in records(store, "job") if r["kind"] == "trial"]
    assert stops, "hopeless settings are stopped"
    assert len(jobs) == 14 * 3 - sum(3 - stop["folds"] for stop in stops)
    folds = {trial: sum(job["trial"] == trial for job in jobs) for trial in range(14)}
    assert all(folds[stop["trial"]] == stop["folds"] for stop in stops)
    (opening,) = records(store, "opening")
    assert opening["settings"]["selected"] not in {stop["trial"] for stop in stops}
    finals = [r for r in records(store, "job") if r["kind"] == "final"]
    assert {r["fold"] for r in finals} == {0, 1, 2}, "what is selected is retrained whole"


def test_a_race_along_the_steps_ends_trainings(race: dict, tmp_path: Path) -> None:
    race["search"] |= {"racing": "steps", "startup_trials": 14}
    run_study(race, tmp_path / "race", executor="in-process", populations=True)
    whole = {**race, "search": {**race["search"], "racing": False}}
    run_study(whole, tmp_path / "whole", executor="in-process", populations=True)
    jobs = [r for r in records(tmp_path / "race", "job") if r["kind"] == "trial"]
    ended = [job for job in jobs if job["status"] == "stopped"]
    assert len(jobs) == 14 * 3, "every fold of a trial is begun"
    assert ended, "hopeless settings are ended"
    stops = records(tmp_path / "race", "stop")
    assert sorted(job["trial"] for job in ended) == sorted(3 * [stop["trial"] for stop in stops]), (
        "all folds of a trial"
    )
    full = {(r["trial"], r["fold"]): r for r in records(tmp_path / "whole", "job") if r["kind"] == "trial"}
    for job in jobs:
        expected, steps = full[job["trial"], job["fold"]], job["curve"]["step"]
        assert expected["curve"]["step"][: len(steps)] == steps
        close = pytest.approx(job["curve"]["accuracy"], abs=0.05)  # a population's width rounds
        assert expected["curve"]["accuracy"][: len(steps)] == close
        if job["status"] == "stopped":
            assert 5 <= steps[-1] < 25, "neither at once nor at the end"
            assert job["reason"] == f"clearly behind after {steps[-1]} of 25 steps"
            assert job["metrics"] == {}
    selected = [records(tmp_path / name, "opening")[0]["settings"]["selected"] for name in ("race", "whole")]
    assert selected[0] == selected[1]


def test_single_trainings_race_over_folds_instead(race: dict, tmp_path: Path) -> None:
    race["search"] |= {"racing": "steps", "startup_trials": 14}
    run_study(race, tmp_path / "steps", executor="in-process", populations=False)
    race["search"]["racing"] = True
    run_study(race, tmp_path / "folds", executor="in-process", populations=False)
    tables = [
        pd.read_parquet(tmp_path / name / "results.parquet").drop(columns=MEASURED) for name in ("steps", "folds")
    ]
    pd.testing.assert_frame_equal(*tables)
    assert records(tmp_path / "steps", "stop")


def test_a_stopped_training_is_no_failure(race: dict, tmp_path: Path) -> None:
    race["search"] |= {"racing": "steps", "startup_trials": 14}
    run_study(race, tmp_path, executor="in-process", populations=True)
    table = pd.read_parquet(tmp_path / "results.parquet")
    stopped = table[(table["status"] == "stopped") & (table["kind"] == "trial")]
    assert len(stopped) > 0
    assert stopped["value"].isna().all()
    assert trial_scores(table).set_index("trial")["value"][stopped["trial"].unique()].isna().all()
    curves = table[(table["kind"] == "curve") & (table["status"] == "stopped")]
    assert set(curves["trial"]) == set(stopped["trial"])
    row = next(row for row in compare(tmp_path).records() if row["loss"] == "cosface")
    assert row["failed_trials"] == 0
    checked = check_store(tmp_path)
    assert any("0 failed" in line for line in checked), checked
    report = tmp_path / "report.html"
    write_report([tmp_path], report)
    assert "No training failed" in report.read_text(encoding="utf-8")
    again = run_study(race, tmp_path, executor="in-process", populations=True, retry_failed=True)
    assert again.trained == 0, "there is nothing to try again"


@pytest.mark.parametrize("racing", ["steps", True])
def test_an_interrupted_race_along_the_steps_decides_alike(race: dict, tmp_path: Path, racing) -> None:
    race["search"]["racing"] = racing
    run_study(race, tmp_path / "whole", executor="in-process", populations=True)
    lines = (tmp_path / "whole/journal.jsonl").read_bytes().splitlines(keepends=True)
    table = pd.read_parquet(tmp_path / "whole/results.parquet").drop(columns=MEASURED)
    for number in np.linspace(8, len(lines) - 2, 4, dtype=int):
        store = tmp_path / f"cut{number}"
        store.mkdir()
        (store / "study.json").write_bytes((tmp_path / "whole/study.json").read_bytes())
        (store / "journal.jsonl").write_bytes(b"".join(lines[:number]))
        run_study(race, store, executor="in-process", populations=True)
        pd.testing.assert_frame_equal(pd.read_parquet(store / "results.parquet").drop(columns=MEASURED), table)


curve_values = st.lists(st.floats(0, 1), min_size=3, max_size=3)


@given(curve_values, st.lists(curve_values, min_size=3, max_size=8))
def test_the_least_mean_never_exceeds_the_bests_own(best: list[float], others: list[list[float]]) -> None:
    """Whoever is as good as the best at a step goes on, however the others fared."""
    steps = (1, 8, 12)
    found = least_means(dict(zip(steps, best)), [dict(zip(steps, values)) for values in others])
    for step, value in found:
        assert step == 8, "neither before a fifth of the training nor at its end"
        assert value <= best[1]


def test_slow_starters_are_given_time() -> None:
    """Where others made up .2 by the end, being .2 behind halfway is no reason to stop; .5 behind is."""
    best = {5: 0.6, 10: 0.7}
    slow = [{5: 0.4 + e, 10: 0.7 - e} for e in (-0.01, 0.0, 0.01, 0.02)]
    ((step, least),) = least_means(best, slow)
    assert step == 5
    assert 0.1 < least < 0.4
    assert least_means(best, slow[:2]) == (), "two say too little"


@given(st.integers(0, 10_000))
@settings(max_examples=20)
def test_settings_that_catch_up_are_seldom_stopped(seed: int) -> None:
    """What is recovered is noise around one mean: of settings that end level with the best, few are stopped."""
    chance = np.random.default_rng(seed)
    best, stopped = {4: 0.5, 8: 0.6, 12: 0.7}, []
    for _ in range(400):
        others = [{s: v + chance.normal(-0.1 if s < 12 else 0, 0.03) for s, v in best.items()} for _ in range(4)]
        one = {s: v + chance.normal(-0.1 if s < 12 else 0, 0.03) for s, v in best.items()}
        one[12] = best[12]
        stopped.append(any(one[step] < value for step, value in least_means(best, others)))
    assert np.mean(stopped) < 0.06


def test_a_race_selects_as_the_whole_search_does(race: dict, tmp_path: Path) -> None:
    """With random search both see the same settings, so only the stopped ones differ."""
    whole = {**race, "search": {**race["search"], "racing": False, "startup_trials": 14}}
    race["search"]["startup_trials"] = 14
    run_study(race, tmp_path / "race", executor="in-process")
    run_study(whole, tmp_path / "whole", executor="in-process")
    selected = [records(tmp_path / name, "opening")[0]["settings"]["selected"] for name in ("race", "whole")]
    assert selected[0] == selected[1]


def test_an_interrupted_race_decides_alike(race: dict, tmp_path: Path) -> None:
    run_study(race, tmp_path / "whole", executor="in-process")
    lines = (tmp_path / "whole/journal.jsonl").read_bytes().splitlines(keepends=True)
    tables = [pd.read_parquet(tmp_path / "whole/results.parquet").drop(columns=MEASURED)]
    for number in np.linspace(2, len(lines) - 1, 4, dtype=int):
        store = tmp_path / f"cut{number}"
        store.mkdir()
        (store / "study.json").write_bytes((tmp_path / "whole/study.json").read_bytes())
        (store / "journal.jsonl").write_bytes(b"".join(lines[:number]))
        run_study(race, store, executor="in-process")
        tables.append(pd.read_parquet(store / "results.parquet").drop(columns=MEASURED))
        assert records(store, "stop") == records(tmp_path / "whole", "stop")
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0])


def test_a_cut_between_the_asks_of_a_round_asks_the_same(race: dict, tmp_path: Path) -> None:
    run_study(race, tmp_path / "whole", executor="in-process")
    lines = (tmp_path / "whole/journal.jsonl").read_bytes().splitlines(keepends=True)
    asks = [number for number, line in enumerate(lines) if b'"type":"ask"' in line]
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut/study.json").write_bytes((tmp_path / "whole/study.json").read_bytes())
    (tmp_path / "cut/journal.jsonl").write_bytes(b"".join(lines[: asks[9] + 1]))  # two of the third round's four
    run_study(race, tmp_path / "cut", executor="in-process")
    assert records(tmp_path / "cut", "ask") == records(tmp_path / "whole", "ask")


def test_mlflow_and_optuna_say_which_were_stopped(race: dict, tmp_path: Path) -> None:
    import optuna
    from mlflow.tracking import MlflowClient

    store = tmp_path / "store"
    run_study(race, store, executor="in-process")
    stops = {stop["trial"] for stop in records(store, "stop")}
    client = MlflowClient(tracking_uri=f"sqlite:///{store}/mlflow.db")
    runs = client.search_runs(["1"], "tags.kind = 'trial'", max_results=100)
    assert {int(run.data.tags["trial"]) for run in runs if "stopped" in run.data.tags} == stops
    assert len(runs) == 14
    study = optuna.load_study(study_name="cosface", storage=f"sqlite:///{store}/optuna.db")
    assert {t.number for t in study.trials if t.state == optuna.trial.TrialState.PRUNED} == stops


scores = st.lists(st.floats(0, 1), min_size=4, max_size=8)


@given(scores, st.floats(0, 0.2))
def test_whoever_is_not_behind_is_never_stopped(values: list[float], spread: float) -> None:
    best = dict(enumerate(values))
    for behind in (clearly_behind, likely_behind):
        assert not behind(best, best, spread)
        assert not behind({fold: value + 0.1 for fold, value in best.items()}, best, spread)


@given(st.integers(0, 10_000))
@settings(max_examples=20)
def test_settings_as_good_as_the_best_are_seldom_stopped(seed: int) -> None:
    """Scores are the best's own with noise of the spread's size: about one in forty is stopped, whatever the folds."""
    chance = np.random.default_rng(seed)
    best = chance.normal(0.5, 0.1, 6)
    whole = [dict(enumerate(best + chance.normal(0, 0.03, 6))) for _ in range(20)]
    spread = paired_spread(dict(enumerate(best)), whole)
    assert spread == pytest.approx(0.03, rel=0.3)
    equal = best[:2] + chance.normal(0, 0.03, (2000, 2))
    stopped = [clearly_behind(dict(enumerate(row)), dict(enumerate(best)), spread) for row in equal]
    assert np.mean(stopped) < 0.08


@pytest.mark.parametrize("seen", [1, 2, 3, 5])
@pytest.mark.parametrize("behind", [0.0, 0.02])
def test_few_that_an_early_race_stops_would_lead(seen: int, behind: float) -> None:
    """Of settings as good as the best, or a little worse, at most one in six would lead in the end and is stopped."""
    chance = np.random.default_rng(seen)
    best = chance.normal(0.5, 0.1, 6)
    whole = [dict(enumerate(best + chance.normal(0, 0.03, 6))) for _ in range(100)]
    spread = paired_spread(dict(enumerate(best)), whole)
    assert spread == pytest.approx(0.03, rel=0.15)
    others = best - behind + chance.normal(0, 0.03, (4000, 6))
    stopped = np.array([likely_behind(dict(enumerate(row[:seen])), dict(enumerate(best)), spread) for row in others])
    leads = others.mean(axis=1) > best.mean()
    assert np.mean(stopped & leads) < 1 / 6
    assert np.mean(leads[stopped]) < np.mean(leads[~stopped]) / 2


@given(st.floats(0.001, 0.2), st.floats(0.0005, 0.1))
def test_the_same_deficit_counts_more_with_every_fold(spread: float, deficit: float) -> None:
    best = dict.fromkeys(range(6), 0.5)
    said = [likely_behind(dict.fromkeys(range(seen), 0.5 - deficit), best, spread) for seen in range(1, 6)]
    assert said == sorted(said)
    assert said[-1] == (deficit > spread * np.sqrt(1 / 5 - 1 / 6))


def scored(monkeypatch, score) -> None:
    """Have every trial's fold score ``score(trial, fold)``; ``None`` fails it."""
    from mlcompare.execution import executors

    train = executors.run_bundle

    def run(bundle, data):
        results = train(bundle, data)
        for job, result in zip(bundle, results):
            if job.kind == "trial":
                value = score(int(job.key.split("/")[2]), job.fold)
                result.metrics = {} if value is None else {job.metrics[0]: value}
                result.status, result.reason = ("failed", "diverged") if value is None else ("ok", None)
        return results

    monkeypatch.setattr(executors, "run_bundle", run)


FOLDS = (0.60, 0.61, 0.62, 0.58)


@pytest.fixture
def close(tiny: dict) -> dict:
    tiny["losses"], tiny["protocol"] = {"cosface": {"scale": 16}}, {"kind": "closed_set", "folds": 4}
    tiny["search"] = {"trials": 8, "parallel": 2, "racing": "folds"}
    return tiny


def test_a_trial_with_a_failed_fold_has_failed_and_is_not_raced(close: dict, tmp_path: Path, monkeypatch) -> None:
    def score(trial: int, fold: int) -> float | None:
        return (
            None if (trial, fold) == (4, 0) else FOLDS[fold] - (0.4 if trial in (4, 5) else 0.02 * ((trial + fold) % 2))
        )

    scored(monkeypatch, score)
    for _ in range(2):  # a resume reads the same journal
        run_study(close, tmp_path / "store", executor="in-process")
    assert [(r["trial"], r["folds"]) for r in records(tmp_path / "store", "stop")] == [(5, 1)]


def test_a_trial_is_judged_by_the_folds_up_to_the_check(close: dict, tmp_path: Path, monkeypatch) -> None:
    """Trial 5 leads on three folds and fails badly on the last, after which there is nothing left to stop."""

    def score(trial: int, fold: int) -> float:
        return (0.64, 0.65, 0.66, 0.1)[fold] if trial == 5 else FOLDS[fold] - 0.02 * ((trial + fold) % 2)

    scored(monkeypatch, score)
    run_study(close, tmp_path / "store", executor="in-process")
    assert records(tmp_path / "store", "stop") == []


def test_a_search_hears_what_a_stopped_trial_lacked_not_how_easy_its_folds_were(race: dict, tmp_path: Path) -> None:
    plan = make_plan(validated(race, "study"))
    with Store(tmp_path) as store:
        coordinator = Coordinator(plan, store, InProcessExecutor(plan.data), [])
        coordinator.run()
        told = coordinator.trials.finished("cosface")
        _, scores = _known(told, [], True)
        stopped = [trial for trial in told if trial.stopped_after]
        assert stopped
        for trial in stopped:
            first = trial.number // 4 * 4
            best = max(
                (t for t in told if t.number < first and not t.stopped_after), key=lambda t: (t.objective, -t.number)
            )
            seen, whole = (coordinator.trials.scores("cosface", t.number) for t in (trial, best))
            lacks = np.mean([whole[fold] - value for fold, value in seen.items()])
            assert trial.expected == pytest.approx(best.objective - lacks)
            assert scores[trial.number] == trial.expected
