"""A study interrupted anywhere ends as an uninterrupted one; nothing is lost, nothing done twice."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from mlcompare.comparison import load_results
from mlcompare.errors import StudyFileError
from mlcompare.execution.executors import InProcessExecutor
from mlcompare.study import Store, make_plan, run_study
from mlcompare.study.config import validated
from mlcompare.study.coordinator import Coordinator
from mlcompare.study.results_table import per_class_frame, results_frame
from mlcompare.training import TrainingResult


class Stopped(Exception):
    """The power went."""


class FragileExecutor(InProcessExecutor):
    """Stops the study after a number of jobs; finishes jobs in another order where told."""

    workers = 3

    def __init__(self, data, *, after: int | None = None, backwards: bool = False) -> None:
        super().__init__(data)
        self.after, self.backwards, self.ran = after, backwards, []

    def wait(self):
        if self.after is not None and len(self.ran) >= self.after:
            raise Stopped
        if self.backwards:
            self._queue.reverse()
        finished = super().wait()
        self.ran += [job.key for job, _ in finished]
        return finished


def run(study: dict, folder: Path, populations: bool = False, **executor) -> tuple[list[dict], list[str]]:
    plan = make_plan(validated(study, "study"))
    with Store(folder) as store:
        worker = FragileExecutor(plan.data, **executor)
        with suppress(Stopped):
            Coordinator(plan, store, worker, [], populations=populations).run()
        return list(store.records), worker.ran


def numbers(records: list[dict]) -> pd.DataFrame:
    frame = results_frame("tiny", "map_at_r", records)
    return frame.drop(columns=["seconds", "peak_memory"])


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> list[dict]:
    import copy

    from tests.study.conftest import TINY

    return run(copy.deepcopy(TINY), tmp_path_factory.mktemp("whole"))[0]


def test_interrupted_after_every_job(tiny: dict, tmp_path: Path, whole: list[dict]) -> None:
    ran: list[str] = []
    for _ in range(100):
        records, now = run(tiny, tmp_path, after=2)
        ran += now
        if not now:
            break
    assert len(ran) == len(set(ran)), "no job ran twice"
    pd.testing.assert_frame_equal(numbers(records), numbers(whole))
    pd.testing.assert_frame_equal(per_class_frame("tiny", records), per_class_frame("tiny", whole))


def test_interrupted_populations_repeat_their_numbers(tiny: dict, tmp_path: Path, monkeypatch) -> None:
    whole, _ = run(tiny, tmp_path / "whole", populations=True)
    widths = [record["width"] for record in whole if record["type"] == "population"]
    assert max(widths) == 4, "two trials on two folds"
    lines = (tmp_path / "whole" / "journal.jsonl").read_bytes().splitlines(keepends=True)
    for cut in range(0, len(lines), 3):
        folder = tmp_path / f"cut{cut}"
        folder.mkdir()
        (folder / "journal.jsonl").write_bytes(b"".join(lines[:cut]))
        records, _ = run(tiny, folder, populations=True)
        pd.testing.assert_frame_equal(numbers(records), numbers(whole))
        keys = [record["key"] for record in records if record["type"] == "job"]
        assert len(keys) == len(set(keys)), "no training stands twice"


def test_populations_agree_with_single_trainings(tiny: dict, tmp_path: Path, whole: list[dict]) -> None:
    records, _ = run(tiny, tmp_path, populations=True)
    one, other = numbers(whole), numbers(records)
    first = (one["kind"] == "trial") & (one["trial"] == 0)  # later trials follow what rounding changed
    assert other[first]["value"].to_numpy() == pytest.approx(one[first]["value"].to_numpy(), abs=0.02)


def test_order_of_finishing_changes_nothing(tiny: dict, tmp_path: Path, whole: list[dict]) -> None:
    records, _ = run(tiny, tmp_path, backwards=True)
    assert [r["key"] for r in records if r["type"] == "job"] != [r["key"] for r in whole if r["type"] == "job"]
    pd.testing.assert_frame_equal(numbers(records), numbers(whole))


def test_sealed_classes_are_opened_last_and_once(whole: list[dict]) -> None:
    for loss in ("contrastive", "cosface"):
        mine = [r for r in whole if r.get("loss") == loss]
        opening = [n for n, r in enumerate(mine) if r["type"] == "opening"]
        assert len(opening) == 1
        splits = [r["split"] for r in mine if r["type"] == "job"]
        finals = [n for n, r in enumerate(mine) if r["type"] == "job" and r["split"] == "test"]
        assert splits.count("validation") == 3 * 2
        assert min(finals) > opening[0]
        assert mine[opening[0]]["settings"]["default"] == 0


def test_the_selected_trial_is_the_best_on_validation(whole: list[dict]) -> None:
    frame = results_frame("tiny", "map_at_r", whole)
    trials = frame[(frame["kind"] == "trial") & (frame["metric"] == "map_at_r")]
    for loss, mine in trials.groupby("loss"):
        best = mine.groupby("trial")["value"].mean().idxmax()
        opening = next(r for r in whole if r["type"] == "opening" and r["loss"] == loss)
        assert opening["settings"]["selected"] == best


def test_every_loss_has_the_same_budget_and_starts_with_the_default(whole: list[dict]) -> None:
    asks = pd.DataFrame([r for r in whole if r["type"] == "ask"])
    assert asks.groupby("loss")["trial"].apply(list).tolist() == [[0, 1, 2]] * 2
    assert set(asks[asks["trial"] == 0]["source"]) == {"default"}


def test_a_loss_that_fails_everywhere_stands_in_the_table(tiny: dict, tmp_path: Path) -> None:
    tiny["losses"] = {"cosface": None, "softmax": {"lr": 1e30}}
    tiny["training"] |= {"optimizer": "sgd", "steps": 8}
    records, _ = run(tiny, tmp_path)
    frame = results_frame("tiny", "map_at_r", records)
    failed = frame[(frame["loss"] == "softmax")]
    assert set(failed["status"]) == {"failed"}
    assert failed["value"].isna().all()
    assert failed["reason"].str.contains("diverged").all()
    from mlcompare.comparison import compare

    row = next(r for r in compare(frame, per_class_frame("tiny", records)).records() if r["loss"] == "softmax")
    assert row["mean"] is None
    assert "diverged" in row["reason"]


def test_extending_keeps_what_is_done(tiny: dict, tmp_path: Path) -> None:
    first = run_study(tiny, tmp_path, executor="in-process")
    tiny["search"]["trials"] = 4
    more = run_study(tiny, tmp_path, executor="in-process", extend=True)
    assert more.resumed == first.trained
    again = run_study(tiny, tmp_path, executor="in-process")
    assert again.trained == 0
    assert pd.read_parquet(tmp_path / "results.parquet")["trial"].max() == 3


class DyingExecutor(InProcessExecutor):
    """Every job of one loss comes back as a crash."""

    def wait(self):
        job = self._queue[0][0]
        if job.loss is not None and job.loss.name == "cosface":
            self._queue.popleft()
            return [(job, TrainingResult(job.key, "failed", "the worker died (SIGKILL), 3 times"))]
        return super().wait()


def test_a_loss_whose_workers_die_does_not_stop_the_others(tiny: dict, tmp_path: Path) -> None:
    plan = make_plan(validated(tiny, "study"))
    with Store(tmp_path) as store:
        Coordinator(plan, store, DyingExecutor(plan.data), []).run()
        frame = results_frame("tiny", "map_at_r", store.records)
    assert (frame[frame["loss"] == "contrastive"]["status"] == "ok").all()
    assert frame[frame["loss"] == "cosface"]["reason"].str.contains("SIGKILL").all()


@pytest.mark.parametrize(
    ("costs", "populations", "why"),
    [
        ([(0.1, 0.01), (0.1, 0.07), (0.1, 0.02)], False, "each further member"),  # 25 ms for each further member
        ([(0.1, 0.01), (0.1, 0.03), (0.1, 0.02), (0.2, 0.04)], True, "populations: "),
        ([(0.1, 0.01), (0.1, 0.03), (0.1, 0.02), (9.0, 0.04)], False, "single trainings: "),
    ],
    ids=["bound by arithmetic", "bound by overhead", "slow to start"],
)
def test_the_engine_with_the_cheaper_training_is_chosen(tiny, monkeypatch, costs, populations, why) -> None:
    from mlcompare.execution import timing
    from mlcompare.study import engine

    measured = iter(costs)  # seconds of the first step and of each further one: alone, few members, one, the round
    monkeypatch.setattr(timing, "_cost", lambda run: next(measured))
    chosen = engine.choose_engine(make_plan(validated(tiny, "study")))
    assert chosen.populations == populations
    assert why in chosen.why
    assert not list(measured), "a wide population is measured where it may pay, and only there"


def test_a_population_is_timed_as_wide_as_some_seconds_allow() -> None:
    from mlcompare.execution.timing import WIDE_SECONDS, _width

    assert _width(32, 3, 0.0001, 0.0001) == 32
    assert _width(32, 3, 0.0, 0.0) == 32
    assert 3 < _width(32, 3, 0.1, 0.03) < WIDE_SECONDS / (3 * 0.1)
    assert _width(32, 3, 9.0, 9.0) == 3


def test_the_probe_takes_steps_and_scores_nothing(tiny: dict, monkeypatch) -> None:
    from mlcompare.study import engine

    def scored(*_given, **_more):
        raise AssertionError("a probe scores nothing")

    monkeypatch.setattr("mlcompare.training.scoring.evaluate_with_classes", scored)
    tiny["training"] |= {"evaluations": 4}
    assert "failed" not in engine.choose_engine(make_plan(validated(tiny, "study"))).why


def test_models_of_other_libraries_run_one_by_one(tiny: dict) -> None:
    from mlcompare.study import engine

    plan = make_plan(validated(tiny, "study"))
    plan = replace(plan, alone="the encoder does not run in a population")
    chosen = engine.choose_engine(plan)
    assert not chosen.populations
    assert "encoder" in chosen.why


@pytest.mark.parametrize("name", ["", " ", "../cosface", "a//b", "/a", "a\nb", "x" * 101, "pca", "raw_pixels"])
def test_an_entry_has_a_name_that_can_head_a_row_and_a_folder(tiny: dict, name: str) -> None:
    with pytest.raises(StudyFileError, match=r"losses.*(printable|baseline)"):
        make_plan(validated({**tiny, "losses": {name: {"loss": "cosface"}}}, "study"))


def test_a_loss_of_the_other_library_stands_under_its_own_name(tiny: dict, tmp_path: Path) -> None:
    tiny["losses"] = {"pml/ArcFaceLoss": None}
    run_study(tiny, tmp_path / "store", executor="in-process")
    frame = load_results(tmp_path / "store")
    assert set(frame[frame["loss"] == "pml/ArcFaceLoss"]["trial"]) == {0, 1, 2}
    assert (frame["status"] == "ok").all()


def test_the_optimisers_momentum_is_not_searched_where_a_loss_has_one_of_its_own(tiny: dict) -> None:
    tiny["losses"] = {"ccl": {"momentum": 0.95}}
    assert make_plan(validated(tiny, "study")).losses["ccl"].space["momentum"] == 0.95
    tiny["search"]["space"] = {"momentum": {"low": 0.5, "high": 0.9}}
    with pytest.raises(StudyFileError, match=r"losses\.ccl: .*momentum of its own"):
        make_plan(validated(tiny, "study"))


def test_a_false_accept_rate_below_one_pair_is_refused(tiny: dict) -> None:
    tiny["search"]["objective"] = "tar_at_far_1e-9"
    with pytest.raises(StudyFileError, match="pairs of different classes in every fold"):
        make_plan(validated(tiny, "study"))


def test_classes_without_a_score_are_left_out_of_the_journal(tiny: dict, tmp_path: Path, monkeypatch) -> None:
    from mlcompare.training import scoring

    scores = scoring.evaluate_with_classes

    def undefined_for_the_first(*given, **more):
        found, by_class = scores(*given, **more)
        return found, {c: v if c != min(by_class) else float("nan") for c, v in by_class.items()}

    monkeypatch.setattr(scoring, "evaluate_with_classes", undefined_for_the_first)
    run_study(tiny, tmp_path / "store", executor="in-process")
    assert (load_results(tmp_path / "store")["status"] == "ok").all()


def test_a_probe_that_fails_times_nothing(tiny: dict, monkeypatch) -> None:
    from mlcompare.study import engine
    from mlcompare.study.estimate import estimate

    tiny["losses"] = {"cosface": {"scale": 16}}
    plan = make_plan(validated({**tiny, "training": {**tiny["training"], "optimizer": "sgd", "lr": 1e30}}, "study"))
    chosen = engine.choose_engine(plan)
    assert not chosen.populations
    assert "cosface failed (" in chosen.why
    with pytest.raises(StudyFileError, match=r"study: losses\.cosface: a short training must run"):
        estimate(plan)


def test_stages_are_probed_by_whole_steps(tiny: dict) -> None:
    from mlcompare.study import engine
    from mlcompare.study.estimate import estimate

    tiny["losses"] = {"both": {"stages": [{"loss": "softmax", "share": 0.1}, {"loss": "triplet", "share": 0.9}]}}
    plan = make_plan(validated(tiny, "study"))
    assert "failed" not in engine.choose_engine(plan).why
    assert "a training" in str(estimate(plan))


def test_scores_by_class_say_how_many_sealed_samples_a_class_has(tiny: dict, tmp_path: Path) -> None:
    run_study(tiny, tmp_path, executor="in-process")
    by_class = pd.read_parquet(tmp_path / "per_class.parquet").groupby("class")["samples"].agg(["min", "max"])
    plan = make_plan(validated(tiny, "tiny"))
    dataset, rows = plan.data.dataset, plan.data.splits.test
    sealed = {dataset.class_names[label]: int((dataset.labels[rows] == label).sum()) for label in dataset.labels[rows]}
    assert by_class["min"].to_dict() == by_class["max"].to_dict() == sealed


def test_the_study_knows_where_a_wider_range_would_end(tiny: dict, tmp_path: Path) -> None:
    run_study(tiny, tmp_path, executor="in-process")
    spaces = json.loads((tmp_path / "study.json").read_text())["spaces"]
    assert spaces["cosface"]["margin"]["minimum"] == 0.0
    assert spaces["cosface"]["lr"]["positive"]


def test_an_estimate_adds_up_every_kind_of_training(tiny: dict, monkeypatch) -> None:
    from mlcompare.study import estimate as estimates
    from mlcompare.study.engine import Engine

    costs = {"contrastive": estimates.Costs(1.0, 0.1, 2.0, 100), "cosface": estimates.Costs(1.0, 0.3, 2.0, 90)}
    monkeypatch.setattr(estimates, "measure", lambda plan, name: costs[name])
    monkeypatch.setattr(estimates, "choose_engine", lambda plan: Engine(True, "populations", 4.0))
    monkeypatch.setattr(estimates, "cpu_count", lambda: 2)
    monkeypatch.setattr(estimates, "baseline_seconds", lambda plan, scoring: 7 * scoring)
    tiny["training"] |= {"steps": 10, "evaluations": 0}
    plan = make_plan(validated({**tiny, "final": {"seeds": 3}}, "study"))
    found, fold = estimates.estimate(plan), plan.data.splits.folds[0]
    assert found.each == {"contrastive": (1 + 1) / 4 + 2, "cosface": (1 + 3) / 4 + 2}, "each is scored by itself"
    assert found.search == pytest.approx(3 * 2 * (found.each["contrastive"] + found.each["cosface"]))
    test = 2 * (len(plan.data.splits.test) / len(fold.scored)) ** 1.5
    assert found.finals == pytest.approx(2 * 2 * 3 * ((1 + 1) / 4 + test + (1 + 3) / 4 + test))
    assert found.baselines == pytest.approx(7 * test)
    whole = estimates.CAUTION * (found.search + found.finals + found.baselines) / 2 + estimates.CONSTANT
    assert found.minutes == pytest.approx(whole / 60)
    assert (found.workers, found.memory) == (2, 100)
    assert estimates.estimate(replace(plan, device="cuda:0")).workers == 1, "one training at a time on a GPU"
    nested = estimates.estimate(make_plan(validated({**tiny, "protocol": {"outer_folds": 2, "folds": 2}}, "study")))
    assert nested.parts == 2
    searched = {**tiny, "search": {**tiny["search"], "space": {"steps": [10, 30]}}}
    twice = estimates.estimate(make_plan(validated(searched, "study")))
    assert twice.each == {"contrastive": (1 + 2) / 4 + 2, "cosface": (1 + 6) / 4 + 2}, "20 steps in the mean"
