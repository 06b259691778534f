"""Learning curves in a study: journaled, in the table, in MLflow; and the bounded sample they are measured on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mlcompare import register_trainer
from mlcompare.errors import StudyFileError
from mlcompare.study import make_plan, read_journal, run_study
from mlcompare.study.config import validated
from mlcompare.tracking.study_runs import runs_of
from mlcompare.training.trainers import TRAINERS


def test_learning_curves_are_journaled_and_in_the_table(tiny, tmp_path) -> None:
    tiny["training"] |= {"steps": 20, "evaluations": 4}
    run_study(tiny, tmp_path, executor="in-process")
    jobs = [r for r in read_journal(tmp_path / "journal.jsonl") if r["type"] == "job"]
    trained = [r for r in jobs if r["kind"] != "baseline"]
    assert all(r["curve"]["step"] == [5, 10, 15, 20] and r["step"] == 20 for r in trained)
    assert all(not r["curve"] for r in jobs if r["kind"] == "baseline")
    table = pd.read_parquet(tmp_path / "results.parquet")
    assert set(table.loc[table["kind"].isin(["trial", "final"]), "step"]) == {20}
    curves = table[table["kind"] == "curve"]
    assert set(curves["split"]) == {"validation"}
    assert set(curves["step"]) == {5, 10, 15, 20}
    assert curves["seconds"].isna().all(), "the training's seconds stand with its score"
    for record in (r for r in trained if r["kind"] == "trial"):
        place = (curves["loss"] == record["loss"]) & (curves["fold"] == record["fold"]) & curves["seed"].isna()
        mine = curves[place & (curves["trial"] == record["trial"])]
        assert mine["value"].tolist() == record["curve"]["map_at_r"]
        assert mine["value"].iloc[-1] == record["metrics"]["map_at_r"]
    finals = {(r["loss"], r["trial"], r["fold"], r["seed"]) for r in trained if r["kind"] == "final"}
    seeded = curves[curves["seed"].notna()]
    assert set(zip(seeded["loss"], seeded["trial"], seeded["fold"], seeded["seed"])) == finals


def test_the_best_step_is_recorded(tiny, tmp_path) -> None:
    tiny["training"] |= {"steps": 20, "evaluations": 10, "select": "best"}
    run_study(tiny, tmp_path, executor="in-process")
    jobs = [r for r in read_journal(tmp_path / "journal.jsonl") if r["type"] == "job" and r["kind"] != "baseline"]
    for record in jobs:
        values = record["curve"]["map_at_r"]
        assert record["step"] == record["curve"]["step"][values.index(max(values))]
    table = pd.read_parquet(tmp_path / "results.parquet")
    scored = table[table["kind"].isin(["trial", "final"])]
    assert set(scored["step"]) == {r["step"] for r in jobs}


def test_a_bounded_sample_is_part_of_what_a_store_is_about(tiny, tmp_path) -> None:
    whole, bounded = (make_plan(validated({**tiny, "search": {"trials": 1, "validation_samples": n}}, "x"))
                      for n in (5000, 150))  # fmt: skip
    assert "validation_samples" not in whole.fingerprint()
    assert len(bounded.fingerprint()["validation_samples"]) == 64
    assert all(len(fold.scored) <= 150 for fold in bounded.data.splits.folds)
    assert all(np.array_equal(a.train, b.train) for a, b in zip(whole.data.splits.folds, bounded.data.splits.folds))


def test_mlflow_has_them_by_step(tiny, tmp_path) -> None:
    tiny["training"] |= {"steps": 20, "evaluations": 4}
    run_study(tiny, tmp_path, executor="in-process")
    records = read_journal(tmp_path / "journal.jsonl")
    runs = {run.key: run for run in runs_of(records, 2, "map_at_r", tmp_path)}
    trial = {step: value for name, value, step in runs["trial/cosface/0"].metrics if name == "validation_map_at_r"}
    folds = [r["curve"]["map_at_r"] for r in records if r.get("key", "").startswith("trial/cosface/0/")]
    assert list(trial) == [5, 10, 15, 20]
    assert list(trial.values()) == pytest.approx(np.mean(folds, axis=0).tolist())
    final = next(run for key, run in runs.items() if key.startswith("final/"))
    names = {(name, step) for name, _, step in final.metrics}
    assert {("validation_map_at_r", step) for step in (5, 10, 15, 20)} <= names
    assert ("test_map_at_r", 0) in names


def test_a_trainer_of_ones_own_chooses_its_weights_itself(tiny) -> None:
    @register_trainer("own")
    def own(assignment):
        """Return the encoder as it is."""
        return assignment.encoder

    try:
        study = validated({**tiny, "trainer": "own", "training": {**tiny["training"], "select": "best"}}, "x")
        with pytest.raises(StudyFileError, match="a trainer of your own chooses its weights itself"):
            make_plan(study)
    finally:
        TRAINERS._records.pop("own")


def test_a_frozen_encoder_has_curves_and_a_bounded_sample(tiny, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tiny["encoder"] = {"name": "hog", "frozen": True, "embedding_dim": 8}
    tiny["search"]["validation_samples"] = 200
    run_study(tiny, tmp_path / "store", executor="in-process", populations=True)
    table = pd.read_parquet(tmp_path / "store" / "results.parquet")
    assert set(table.loc[table["kind"] == "curve", "step"]) == {1, 2, 3, 4}
    assert not (table["status"] != "ok").any()
