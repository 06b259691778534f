"""What a plan can know is told before anything is trained; a run without a result is no success."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from mlcompare.cli import main
from mlcompare.errors import InvalidValueError, StudyFileError
from mlcompare.study import make_plan, run_study
from mlcompare.study.config import validated


@pytest.mark.parametrize("metric", ["recall_at_1000", "precision_at_1000", "rank_1000"])
@pytest.mark.parametrize("key", ["search.objective", "final.metrics"])
def test_more_neighbours_than_samples_are_refused(tiny: dict, metric: str, key: str) -> None:
    section, _, name = key.partition(".")
    tiny |= {"dataset": {"name": "orl_faces", "size": [8, 8]}, section: {**tiny[section]}}
    tiny[section][name] = metric if name == "objective" else [metric]
    with pytest.raises(StudyFileError, match=metric) as error:
        make_plan(validated(tiny, "study"))
    assert error.value.place == f"study: {key}"
    assert "samples" in str(error.value.value)


@pytest.mark.parametrize("metric", ["recall_at_10", "precision_at_5", "rank_3", "tar_at_far_1e-1", "nmi", "mrr"])
def test_metrics_that_can_be_measured_pass(tiny: dict, metric: str) -> None:
    tiny["final"]["metrics"] = [metric]
    assert metric in make_plan(validated(tiny, "study")).test_metrics


@pytest.mark.parametrize("address", ["127.0.0.1:5077", "localhost:5000", "server", "htp://server", "runs/mlflow.db"])
def test_an_address_without_a_scheme_is_refused_at_the_start(tiny: dict, tmp_path: Path, address: str) -> None:
    with pytest.raises(InvalidValueError, match="scheme") as error:
        run_study(tiny, tmp_path / "store", tracking_uri=address)
    assert error.value.cure
    assert not (tmp_path / "store").exists()


def test_a_run_without_a_result_ends_with_1(tiny: dict, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    tiny |= {"losses": {"softmax": {"lr": 1e30}}, "baselines": []}
    tiny["training"] |= {"optimizer": "sgd", "steps": 8}
    Path("tiny.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(tiny))))
    with pytest.raises(SystemExit) as ended:
        main(["run", "tiny.yaml", "--executor", "in-process"])
    assert ended.value.code == 1
    assert "no loss has a result" in capsys.readouterr().out


def test_a_plan_is_made_of_what_a_study_is_run_from(tiny: dict, tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny), encoding="utf-8")
    plans = [make_plan(study) for study in (tiny, path, str(path), validated(tiny, "study"))]
    assert all(plan.fingerprint() == plans[0].fingerprint() for plan in plans)
    for call in (make_plan, run_study):
        with pytest.raises(InvalidValueError, match="a study is a file or its content, got list") as error:
            call([tiny])
        assert error.value.cure
    path.write_text(yaml.safe_dump({**tiny, "losses": {"arcfaze": None}}), encoding="utf-8")
    with pytest.raises(StudyFileError, match=f"{path}: losses.arcfaze"):
        make_plan(path)
