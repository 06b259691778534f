"""The `corruption:` section of a study file: in the plan, the store's fingerprint, `check` and the report."""

from __future__ import annotations

import pytest
import yaml

from mlcompare.cli import main
from mlcompare.errors import StudyFileError
from mlcompare.report import write_report
from mlcompare.study import make_plan, run_study
from mlcompare.study.config import validated


def test_the_plan_trains_on_the_corrupted_samples(tiny) -> None:
    clean = make_plan(validated(tiny, "study"))
    assert clean.corrupted() == ""
    tiny["corruption"] = {"label_noise": 0.2, "imbalance": 20, "seed": 3}
    plan = make_plan(validated(tiny, "study"))
    assert plan.fingerprint()["splits"] != clean.fingerprint()["splits"]
    train = [p.data.splits.folds[0].train for p in (clean, plan)]
    assert len(train[1]) < len(train[0]) / 2
    assert f"{round(0.2 * len(train[1]))} of {len(train[1])} labels are wrong" in plan.corrupted()


def test_mistakes_are_named(tiny) -> None:
    tiny["corruption"] = {"label_nose": 0.2}
    with pytest.raises(
        StudyFileError, match=r"corruption.label_nose: unknown key 'label_nose'; did you mean label_noise"
    ):
        validated(tiny, "study")
    tiny["corruption"] = {"imbalance": 0.5}
    with pytest.raises(StudyFileError, match=r"corruption.imbalance: must be greater than or equal to 1, got 0.5"):
        validated(tiny, "study")
    tiny["corruption"] = {"label_noise": 0.99, "imbalance": 500}
    with pytest.raises(StudyFileError, match=r"study: corruption: wrong labels must leave each class a sample"):
        make_plan(validated(tiny, "study"))


def test_check_and_report_say_so(tiny, tmp_path, capsys) -> None:
    tiny["corruption"] = {"label_noise": 0.2, "imbalance": 20}
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(tiny))
    with pytest.raises(SystemExit, match="0"):
        main(["check", str(file)])
    assert "training samples are corrupted" in capsys.readouterr().out
    run_study(file, tmp_path / "store", trials=1, executor="in-process")
    page = write_report([tmp_path / "store"]).read_text()
    assert "20% of the training labels are wrong; a long tail: the largest training class is 20 times" in page
