"""Challenges: each changes one thing, trains the selected settings again, and says whether the verdict stands."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mlcompare.challenge import Outcome, challenge_store, find_leaders, judge, summary, variants
from mlcompare.challenge.leaders import fixed_entry
from mlcompare.comparison import Contrast, compare
from mlcompare.errors import InvalidValueError, StoreError, StudyFileError
from mlcompare.report import write_report
from mlcompare.study import make_plan, run_study
from mlcompare.study.config import validated
from mlcompare.study.journal import read_journal
from tests.study.conftest import TINY

STUDY = {
    **TINY,
    "search": {"trials": 3, "parallel": 2, "space": {"steps": [4, 6]}},
    "losses": {
        "contrastive": None,
        "triplet": None,
        "cosface": {"scale": 16},
        "both": {"sum": [{"loss": "arcface"}, {"loss": "center_term", "weight": {"low": 1e-4, "high": 1.0}}]},
    },
}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("challenge") / "store"
    run_study(copy.deepcopy(STUDY), path, executor="in-process")
    return path


@pytest.fixture(scope="module")
def leaders(store: Path):
    return find_leaders(store, compare(store))


def test_the_leaders_are_the_best_of_each_family(store: Path, leaders) -> None:
    family = compare(store).family
    assert set(leaders.names) == {family.best_margin, family.best_metric}
    assert leaders.original.difference == pytest.approx(abs(family.best.difference), abs=0.2)
    records = read_journal(store / "journal.jsonl")
    openings = {r["loss"]: r["settings"]["selected"] for r in records if r["type"] == "opening"}
    asks = {(r["loss"], r["trial"]): r["hyperparameters"] for r in records if r["type"] == "ask"}
    for name in leaders.names:
        assert leaders.settings[name] == asks[name, openings[name]]


def test_each_challenge_is_a_study_that_trains_the_selected_settings(leaders) -> None:
    found = {variant.name: variant for variant in variants(leaders)}
    assert list(found)[:2] == ["steps-x2", "other-classes"], "the most telling first"
    assert {"head-rate-x3", "head-rate-third", "steps-x4", "wider", "other-chance"} <= found.keys()
    planned = 0
    for variant in found.values():
        try:
            plan = make_plan(validated(variant.study, variant.name))
        except StudyFileError as error:
            if "a batch needs" in error.rule:  # nothing else is impossible here
                continue
            raise
        planned += 1
        assert set(plan.losses) == set(leaders.names)
        for name, loss in plan.losses.items():
            (first, *_) = plan.trial_jobs(name, 0, {k: getattr(v, "default", v) for k, v in loss.space.items()})
            changed = {k for k, v in leaders.settings[name].items() if first.hyperparameters[k] != v}
            allowed = {"steps-x2": {"steps"}, "steps-x4": {"steps"}, "head-rate-x3": {"head_lr_ratio"},
                       "head-rate-third": {"head_lr_ratio"}, "fewer-images": {"samples_per_class"},
                       "more-images": {"samples_per_class"}}  # fmt: skip
            assert changed <= allowed.get(variant.name, set()), variant.name
    assert planned >= 8


def test_what_is_said_is_what_is_changed(leaders) -> None:
    found = {variant.name: variant.study for variant in variants(leaders)}
    original = leaders.config.model_dump(mode="json")
    assert found["steps-x4"]["training"]["steps"] == 4 * original["training"]["steps"]
    assert found["other-classes"]["protocol"]["seed"] != original["protocol"]["seed"]
    margin = next(name for name in leaders.names if "head_lr_ratio" in leaders.settings[name])
    for name, factor in (("head-rate-x3", 3), ("head-rate-third", 1 / 3)):
        rate = found[name]["losses"][margin]["head_lr_ratio"]
        assert rate == pytest.approx(factor * leaders.settings[margin]["head_lr_ratio"])
    for name in ("fewer-images", "more-images"):
        if name in found:
            counts = {n: found[name]["losses"][n].get("samples_per_class", 4) for n in leaders.names}
            batch = original["training"]["classes_per_batch"] * original["training"]["samples_per_class"]
            assert all(batch % count == 0 for count in counts.values())
    assert found["wider"]["encoder"] != original["encoder"] != found["narrower"]["encoder"]


@pytest.mark.parametrize(
    ("encoder", "wider"),
    [
        ({"name": "conv", "embedding_dim": 8}, {"channels": [32, 64]}),
        ({"name": "mlp", "embedding_dim": 8, "width": 10}, {"width": 20}),
        ({"name": "conv4"}, {"width": 32}),
        ({"name": "linear", "embedding_dim": 8}, {"embedding_dim": 16}),
    ],
)
def test_an_encoder_is_made_wider_by_its_own_option(leaders, encoder, wider) -> None:
    config = validated({**STUDY, "encoder": encoder}, "study")
    (found,) = [v.study["encoder"] for v in variants(replace(leaders, config=config)) if v.name == "wider"]
    assert found.items() >= wider.items()


def test_a_fixed_entry_means_the_same(leaders) -> None:
    for name, entry in leaders.entries.items():
        given = fixed_entry(entry, leaders.settings[name])
        plan = make_plan(validated({**STUDY, "losses": {name: given}, "search": {"trials": 1}}, "fixed"))
        own = {k: v for k, v in plan.losses[name].space.items() if not hasattr(v, "contains")}
        assert own.items() >= leaders.settings[name].items()


def contrast(difference: float, p_value: float) -> Contrast:
    return Contrast(difference, difference - 0.1, difference + 0.1, p_value)


@pytest.mark.parametrize(
    ("original", "found", "verdict"),
    [
        ((0.2, 0.01), (0.1, 0.04), "holds"),
        ((0.2, 0.01), (0.1, 0.06), "weaker"),
        ((0.2, 0.01), (-0.01, 0.9), "falls"),
        ((0.2, 0.01), (-0.3, 0.001), "falls"),
        ((0.02, 0.4), (0.3, 0.01), "falls"),
        ((0.02, 0.4), (-0.3, 0.01), "falls"),
        ((0.02, 0.4), (-0.1, 0.2), "holds"),
        ((0.02, 0.4), (float("nan"), float("nan")), "failed"),
    ],
)
def test_verdicts(original, found, verdict) -> None:
    assert judge(contrast(*original), contrast(*found)) == verdict


def test_challenges_run_resume_and_are_kept(store: Path, tmp_path: Path) -> None:
    told = []
    kept = challenge_store(store, minutes=60, executor="in-process", told=told.append)
    assert kept == json.loads((store / "challenges.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in kept["challenges"]] == [outcome.name for outcome in told]
    verdicts = [row["verdict"] for row in kept["challenges"]]
    assert set(verdicts) <= {"holds", "weaker", "falls", "failed"}
    for row in kept["challenges"]:
        assert row["reason"] if row["verdict"] == "failed" else row["low"] < row["difference"] < row["high"]
    run = sum(verdict != "failed" for verdict in verdicts)
    assert f"holds in {verdicts.count('holds')} of {run} challenges" in kept["summary"]
    journals = sorted(store.glob("challenges/*/journal.jsonl"))
    before = [path.read_bytes() for path in journals]
    journals[0].write_bytes(b"".join(before[0].splitlines(keepends=True)[:6]))  # killed in the middle of the first
    again = challenge_store(store, executor="in-process")
    assert [{**row, "minutes": 0} for row in again["challenges"]] == [
        {**row, "minutes": 0} for row in kept["challenges"]
    ]
    assert [path.read_bytes() for path in journals[1:]] == before[1:], "what is done is not done again"
    report = tmp_path / "report.html"
    write_report([store], report)
    page = report.read_text(encoding="utf-8")
    assert "Challenges" in page
    assert "four times the steps" in page


def test_too_little_time_leaves_challenges_out(store: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copy"
    shutil.copytree(store, copied, ignore=shutil.ignore_patterns("challenges*"))
    kept = challenge_store(copied, minutes=1e-6, executor="in-process")
    assert {row["verdict"] for row in kept["challenges"]} == {"not run"}
    assert all(row["minutes"] >= 0 for row in kept["challenges"])
    assert "not been challenged" in kept["summary"]
    with pytest.raises(InvalidValueError, match="above 0"):
        challenge_store(copied, minutes=0)


def test_one_loss_can_not_be_challenged(tmp_path: Path) -> None:
    run_study({**TINY, "losses": {"cosface": None}, "search": {"trials": 1}}, tmp_path, executor="in-process")
    with pytest.raises(StoreError, match="two losses"):
        challenge_store(tmp_path)


def test_summary_names_what_it_falls_with() -> None:
    outcomes = [Outcome("a", "twice the steps", "holds"), Outcome("b", "other classes", "falls"),
                Outcome("c", "batches half as large", "weaker"), Outcome("d", "wider", "not run")]  # fmt: skip
    text = summary(outcomes, ("arcface", "trihard"), contrast(0.2, 0.01))
    assert text == (
        "'arcface beats trihard' holds in 1 of 3 challenges; it falls with other classes; it is no longer sure with "
        "batches half as large. 1 were not run for lack of time."
    )


def test_the_command_prints_one_table(store: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mlcompare.cli", "challenge", str(store), "--executor", "in-process"],
        capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "140"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "the study itself" in done.stdout
    assert "challenges" in done.stdout.splitlines()[-2]
    assert (store / "report.html").is_file()
