"""Baselines of a study: by choice, last, and never in the way."""

from __future__ import annotations

import pytest
import yaml

from mlcompare.cli import main
from mlcompare.errors import StudyFileError
from mlcompare.study import make_plan, read_journal, run_study
from mlcompare.study.config import validated
from mlcompare.training import BASELINES, register_baseline


@pytest.fixture
def broken():
    @register_baseline("broken")
    def broken(job, data):
        """Nothing but an error."""
        raise RuntimeError("the descriptor is out of order")

    yield "broken"
    BASELINES._records.pop("broken")


def jobs_of(store) -> list[dict]:
    return [r for r in read_journal(store / "journal.jsonl") if r["type"] == "job"]


@pytest.mark.parametrize("given", ["none", []])
def test_none_of_them(tiny, tmp_path, given) -> None:
    run_study({**tiny, "baselines": given}, tmp_path, executor="in-process")
    assert {r["kind"] for r in jobs_of(tmp_path)} == {"trial", "final"}


def test_those_that_are_named_and_last(tiny, tmp_path) -> None:
    run_study({**tiny, "baselines": ["pca", "raw_pixels"]}, tmp_path, executor="in-process")
    kinds = [r["kind"] for r in jobs_of(tmp_path)]
    assert {r["loss"] for r in jobs_of(tmp_path) if r["kind"] == "baseline"} == {"pca", "raw_pixels"}
    assert kinds == sorted(kinds, key=lambda kind: kind == "baseline"), "no training of a loss waits for a baseline"


def test_all_that_suit_where_nothing_is_said(tiny) -> None:
    del tiny["baselines"]
    plan = make_plan(validated(tiny, "x"))
    assert set(plan.baselines) == {name for name in BASELINES if BASELINES[name].suits(plan.data.dataset)}
    assert plan.count()["baseline"] == len(plan.baseline_jobs())


@pytest.mark.parametrize(("given", "message"), [(["pcaa"], "did you mean"), ("pca", "tuple"), (3, "tuple")])
def test_what_is_named_is_checked(tiny, given, message) -> None:
    with pytest.raises(StudyFileError, match=message):
        make_plan(validated({**tiny, "baselines": given}, "x"))


def test_one_that_does_not_suit_is_refused(tiny) -> None:
    register_baseline("picky", suits=lambda dataset: False)(lambda job, data: None)
    try:
        study = validated({**tiny, "baselines": ["picky"]}, "x")
        with pytest.raises(StudyFileError, match="a baseline must suit the dataset, got picky"):
            make_plan(study)
    finally:
        BASELINES._records.pop("picky")


def test_one_that_fails_is_a_line_and_the_study_goes_on(tiny, tmp_path, broken, capsys) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump({**tiny, "baselines": [broken, "pca"]}))
    with pytest.raises(SystemExit) as ended:
        main(["run", str(file), "--store", str(tmp_path / "s"), "--executor", "in-process"])
    assert not ended.value.code
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("broken: "))
    assert "the descriptor is out of order" in line
    assert {r["loss"] for r in jobs_of(tmp_path / "s") if r["status"] == "ok"} >= {"pca", "cosface", "contrastive"}


def test_baselines_of_images_do_not_suit_the_features_of_a_frozen_encoder(tiny) -> None:
    encoder = {"name": "conv", "channels": [4], "frozen": True, "embedding_dim": 4}
    study = {**tiny, "encoder": encoder, "baselines": ["hog", "raw_pixels"]}
    with pytest.raises(StudyFileError, match="a baseline must suit the dataset, got hog"):
        make_plan(validated(study, "study"))
    assert "hog" not in make_plan(validated({**study, "baselines": None}, "study")).baselines
