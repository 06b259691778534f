"""A distilled loss in a study, from its file to its table, and what a plan refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mlcompare.comparison import load_results
from mlcompare.data import load_dataset
from mlcompare.errors import StoreError, StudyFileError
from mlcompare.study import StudyConfig, make_plan, run_study


@pytest.fixture
def student(tiny: dict, tmp_path: Path) -> dict:
    """Digits, taught by their own pixels."""
    data = load_dataset("digits")
    pixels = data.samples.reshape(len(data), -1).astype(np.float32)
    np.savez(tmp_path / "teacher.npz", embeddings=pixels / np.linalg.norm(pixels, axis=1, keepdims=True))
    np.save(tmp_path / "other.npy", pixels[:, :7])
    tiny |= {"search": {"trials": 2, "start": "cold"}, "baselines": ["pca"]}
    teacher = str(tmp_path / "teacher.npz")
    tiny["losses"] = {
        "taught": {"distillation": {"loss": "contrastive"}, "teacher": teacher},
        "sum": {
            "sum": [
                {"loss": "cosface"},
                {"distillation": {"loss": "triplet"}, "teacher": teacher, "relations": "distance"},
            ]
        },
    }  # fmt: skip
    return tiny


@pytest.mark.parametrize(
    "options",
    [{"populations": True, "executor": "in-process"}, {"populations": False, "workers": 2, "executor": "processes"}],
    ids=str,
)
def test_it_is_tuned_and_scored(student: dict, tmp_path, options) -> None:
    run_study(student, store=tmp_path / "x", **options)
    results = load_results(tmp_path / "x")
    assert set(results["status"]) == {"ok"}
    mine = results[(results["loss"] == "taught") & (results["kind"] == "trial")]
    asked = [json.loads(values) for values in mine["hyperparameters"]]
    assert {values["angle_weight"] for values in asked} > {2.0}, "the paper's first, then others"
    assert all(values["teacher"].endswith("teacher.npz") for values in asked)


def plan(study: dict, **changes):
    return make_plan(StudyConfig.model_validate({**study, **changes}))


def test_the_teacher_is_part_of_what_a_study_is(student: dict, tmp_path) -> None:
    teacher = student["losses"]["taught"]["teacher"]
    before = plan(student).fingerprint()
    assert list(before["teachers"]) == [teacher]
    run_study(student, store=tmp_path / "x", executor="in-process")
    np.savez(teacher, embeddings=np.random.default_rng(0).normal(size=(1797, 5)))
    assert plan(student).fingerprint()["teachers"] != before["teachers"]
    with pytest.raises(StoreError, match="teachers"):
        run_study(student, store=tmp_path / "x", executor="in-process")


def test_teachers_may_be_searched(student: dict, tmp_path) -> None:
    student["losses"]["taught"]["teacher"] = [student["losses"]["taught"]["teacher"], str(tmp_path / "other.npy")]
    assert len(plan(student).data.teachers) == 2


@pytest.mark.parametrize(
    ("entry", "parts"),
    [
        ({"distillation": {"loss": "triplet"}}, ["losses.a.teacher", "needs a teacher's embeddings", "teacher: FILE"]),
        ({"distillation": {"loss": "triplet"}, "teacher": "none.npz"}, ["losses.a", "none.npz", "must exist"]),
        ({"distillation": {"loss": "triplet"}, "teacher": "{few}"}, ["losses.a", "3 rows for 1797 samples"]),
        ({"distillation": {"loss": "triplet"}, "angle_weight": -1}, ["losses.a", "`angle_weight >= 0.0`"]),
        ({"memory": {"distillation": {"loss": "triplet"}}, "size": 24}, ["losses.a", "anchors against references"]),
    ],
)
def test_what_a_plan_refuses(student: dict, tmp_path: Path, entry: dict, parts: list[str]) -> None:
    np.save(tmp_path / "few.npy", np.zeros((3, 2)))
    given = {k: str(tmp_path / "few.npy") if v == "{few}" else v for k, v in entry.items()}
    with pytest.raises(StudyFileError) as caught:
        plan(student, losses={"a": given})
    for part in parts:
        assert part in str(caught.value), str(caught.value)
