"""Stores that go on after something went wrong: failures retried, entries added, other winners, interruptions."""

from __future__ import annotations

import threading
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient

from mlcompare import compare
from mlcompare.execution import executors
from mlcompare.study import read_journal, run_study
from mlcompare.tracking import local_uri

MEASURED = ["seconds", "peak_memory"]


def table(store: Path) -> pd.DataFrame:
    return pd.read_parquet(store / "results.parquet").drop(columns=MEASURED)


@pytest.mark.parametrize("kind", ["trial", "final"])
def test_failed_trainings_are_run_again_and_end_as_if_nothing_had_failed(tiny, tmp_path, monkeypatch, kind) -> None:
    run_bundle, failing = executors.run_bundle, True

    def sometimes(bundle, data):
        results = run_bundle(bundle, data)
        for job, result in zip(bundle, results):
            if failing and job.kind == kind and job.name == "cosface" and job.fold == 1:
                result.status, result.reason, result.metrics = "failed", "no space left on device", {}
                result.per_class, result.artifacts = {}, None
        return results

    tiny["search"]["trials"] = 1
    run_study(tiny, tmp_path / "whole", executor="in-process")
    monkeypatch.setattr(executors, "run_bundle", sometimes)
    run_study(tiny, tmp_path / "fixed", executor="in-process")
    assert (table(tmp_path / "fixed")["status"] == "failed").any()
    failing = False
    untouched = run_study(tiny, tmp_path / "fixed", executor="in-process")
    assert untouched.trained == 0, "without --retry-failed they stay"
    run_study(tiny, tmp_path / "fixed", executor="in-process", retry_failed=True)
    pd.testing.assert_frame_equal(table(tmp_path / "fixed"), table(tmp_path / "whole"))
    outcome = run_study(tiny, tmp_path / "fixed", executor="in-process")
    assert outcome.trained == 0
    client = MlflowClient(tracking_uri=local_uri(tmp_path / "fixed"))
    runs = client.search_runs([outcome.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_an_entry_with_dots_may_be_added(tiny: dict, tmp_path: Path) -> None:
    tiny["search"]["trials"] = 1
    run_study(tiny, tmp_path, executor="in-process")
    tiny["losses"]["cosface m=0.3 s=16.5"] = {"loss": "cosface", "margin": 0.3, "scale": 16.5}
    run_study(tiny, tmp_path, executor="in-process", extend=True)
    assert "cosface m=0.3 s=16.5" in set(table(tmp_path)["loss"])


@pytest.mark.parametrize("populations", [True, False])
def test_killed_in_the_finals_then_extended_to_another_winner(tiny, tmp_path, monkeypatch, populations) -> None:
    run_bundle, stage = executors.run_bundle, "killed"

    def bundle_or_death(bundle, data):
        if stage == "killed" and bundle[0].kind == "final":
            raise KeyboardInterrupt
        results = run_bundle(bundle, data)
        for job, result in zip(bundle, results):
            if job.kind == "trial":  # the last trial asked is the best: an extended study selects another
                result.metrics[job.metrics[0]] = job.trial / 10
        return results

    monkeypatch.setattr(executors, "run_bundle", bundle_or_death)
    tiny["losses"] = {"cosface": {"scale": 16}}
    with pytest.raises(KeyboardInterrupt):
        run_study(tiny, tmp_path, executor="in-process", trials=2, populations=populations)
    stage = "resumed"
    run_study(tiny, tmp_path, executor="in-process", trials=4, extend=True, populations=populations)
    finals = table(tmp_path).query("kind == 'final'")
    assert set(finals.query("source == 'selected'")["trial"]) == {3}
    assert set(finals["status"]) == {"ok"}


def test_an_interrupted_study_has_a_ranking_and_leaves_no_thread(tiny, tmp_path, monkeypatch) -> None:
    run_bundle = executors.run_bundle

    def until_the_second_loss(bundle, data):
        if bundle[0].kind == "final" and bundle[0].name == "cosface":
            raise KeyboardInterrupt
        return run_bundle(bundle, data)

    monkeypatch.setattr(executors, "run_bundle", until_the_second_loss)
    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        run_study(tiny, tmp_path, executor="in-process")
    assert {t.name for t in set(threading.enumerate()) - before if t.is_alive() and t.name == "tracking"} == set()
    assert "contrastive" in [record["loss"] for record in compare(tmp_path).records()]
    assert any(r["type"] == "job" for r in read_journal(tmp_path / "journal.jsonl"))


def test_tables_follow_the_journal_and_say_what_is_unfinished(tiny: dict, tmp_path: Path) -> None:
    from mlcompare.study.interim import bring_up_to_date

    run_study(tiny, tmp_path, executor="in-process")
    assert bring_up_to_date(tmp_path) == ""
    lines = (tmp_path / "journal.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "journal.jsonl").write_text("".join(lines[: len(lines) // 2]), encoding="utf-8")
    (tmp_path / "results.parquet").unlink()
    assert " being searched" in bring_up_to_date(tmp_path)
    assert len(table(tmp_path)) > 0
