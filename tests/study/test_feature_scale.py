"""What features are divided by: as the study says, the same everywhere, and noted where the other serves better."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mlcompare.cli import main
from mlcompare.errors import StudyFileError
from mlcompare.export import embed_file, export_model
from mlcompare.study import make_plan, read_journal, run_study
from mlcompare.study.config import validated
from mlcompare.study.feature_scale import scale_note, scale_qualities
from mlcompare.training.prepare import Standardizer

CLASSES, EACH = 24, 8


def written(folder: Path, kind: str) -> str:
    """Features whose angles count with columns that sleep on most classes, or columns in very different units."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), EACH)
    features = rng.normal(size=(CLASSES, 12))[labels] + 0.3 * rng.normal(size=(len(labels), 12))
    if kind == "network":
        sleeping = 1e-4 * rng.normal(size=(len(labels), 60))
        awake = rng.random((len(labels), 60)) < 0.01
        features = np.hstack([features, np.where(awake, rng.normal(size=awake.shape), sleeping)])
    else:
        noise = rng.normal(size=(len(labels), 2)) * [1e4, 1e5]
        features = np.hstack([features, noise])
    path = folder / f"{kind}.npz"
    np.savez(path, features=features.astype(np.float32), labels=labels)
    return str(path)


def study(tiny: dict, path: str, **encoder: object) -> dict:
    tiny["encoder"] = {"name": "linear", "embedding_dim": 8, **encoder}
    return {**tiny, "dataset": {"name": "features", "path": path}, "baselines": ["untrained_encoder"]}


def test_one_deviation_divides_all_columns_about_their_means(tiny: dict, tmp_path: Path) -> None:
    plan = make_plan(validated(study(tiny, written(tmp_path, "network"), feature_scale="whole"), "study"))
    dataset, rows = plan.data.dataset, plan.data.splits.folds[0].train
    trained = dataset.samples[rows].astype(np.float64)
    pooled = np.sqrt(trained.var(0).mean())
    found = Standardizer.measure(dataset, rows, "cpu")(torch.as_tensor(dataset.samples[rows]))
    np.testing.assert_allclose(found.numpy(), (trained - trained.mean(0)) / pooled, atol=1e-4)


@pytest.mark.parametrize(("kind", "own", "better"), [("network", "column", "whole"), ("units", "whole", "column")])
def test_the_better_scale_is_noted(tiny: dict, tmp_path: Path, capsys, kind: str, own: str, better: str) -> None:
    path = written(tmp_path, kind)
    for scale in (own, better):
        plan = make_plan(validated(study(tiny, path, feature_scale=scale), "study"))
        noted = scale_note(plan.config, plan.data)
        assert [f"feature_scale: {better}" in note for note in noted] == ([True] if scale == own else [])
    file = tmp_path / "study.yaml"
    file.write_text(json.dumps(study(tiny, path, feature_scale=own)), encoding="utf-8")
    with pytest.raises(SystemExit):
        main(["check", str(file)])
    assert f"try `encoder: {{feature_scale: {better}}}`" in " ".join(capsys.readouterr().out.split())
    run_study(file, tmp_path / "store", executor="in-process")
    notes = json.loads((tmp_path / "store/artifacts/data_notes.json").read_text(encoding="utf-8"))
    assert any(f"feature_scale: {better}" in note for note in notes)


@pytest.mark.parametrize(("kind", "better"), [("network", "whole"), ("units", "column")])
def test_init_proposes_the_better_scale(tmp_path: Path, kind: str, better: str) -> None:
    out = tmp_path / "study.yaml"
    with pytest.raises(SystemExit) as ended:
        main(["init", written(tmp_path, kind), "--minutes", "1", "--out", str(out)])
    assert not ended.value.code
    assert ("feature_scale: whole" in out.read_text(encoding="utf-8")) == (better == "whole")


def test_classes_of_one_sample_and_few_classes_tell_nothing(tiny: dict, tmp_path: Path) -> None:
    plan = make_plan(validated(study(tiny, written(tmp_path, "network")), "study"))
    dataset = plan.data.dataset
    first = np.array([np.flatnonzero(dataset.labels == label)[0] for label in range(CLASSES)])
    assert scale_qualities(dataset, first) == {}
    for few in (1, 2, 3):  # classes: the other half is none, or one
        assert scale_qualities(dataset, np.flatnonzero(dataset.labels < few)) == {}
    assert scale_qualities(dataset, np.flatnonzero(dataset.labels < 4)).keys() == {"column", "whole"}


def test_workers_and_exported_models_divide_alike(tiny: dict, tmp_path: Path) -> None:
    path = written(tmp_path, "network")
    told = study(tiny, path, feature_scale="whole")
    values = []
    for executor in ("in-process", "processes"):
        run_study(told, tmp_path / executor, executor=executor, populations=False)
        jobs = [r for r in read_journal(tmp_path / executor / "journal.jsonl") if r["type"] == "job"]
        values.append({r["key"]: r["metrics"]["map_at_r"] for r in jobs})
    assert values[0] == values[1]
    other = run_study(study(tiny, path), tmp_path / "column", executor="in-process", populations=False)
    jobs = [r for r in read_journal(other.store / "journal.jsonl") if r["type"] == "job"]
    assert {r["key"]: r["metrics"]["map_at_r"] for r in jobs} != values[0]
    exported = export_model(tmp_path / "in-process", "contrastive", tmp_path / "model", far=0.1)
    stored = tmp_path / f"in-process/artifacts/final/contrastive/{exported.card['trial']}/fold0-seed0.npz"
    embed_file(tmp_path / "model", path, tmp_path / "found.npz", raw=True)
    with np.load(stored) as sealed, np.load(tmp_path / "found.npz") as found:
        np.testing.assert_allclose(found["embeddings"][sealed["rows"]], sealed["embeddings"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("dataset", "encoder"),
    [("digits", {"name": "conv", "channels": [2]}), (None, {"input_mean": [0.0], "input_std": [1.0]})],
)
def test_it_is_of_features_that_are_measured(tiny: dict, tmp_path: Path, dataset, encoder: dict) -> None:
    told = study(tiny, written(tmp_path, "network"), feature_scale="whole", **encoder)
    if dataset is not None:
        told["dataset"] = dataset
    with pytest.raises(StudyFileError, match="feature_scale") as refused:
        make_plan(validated(told, "study"))
    assert refused.value.cure == "leave it out"


def test_of_a_frozen_encoder_it_is_of_its_features(tiny: dict) -> None:
    tiny["encoder"] = {"name": "hog", "frozen": True, "head": "linear", "embedding_dim": 8, "feature_scale": "whole"}
    plan = make_plan(validated({**tiny, "dataset": {"name": "glyphs", "classes": 12}}, "study"))
    rows = plan.data.splits.folds[0].train
    assert len(Standardizer.measure(plan.data.dataset, rows, "cpu").inverse.unique()) == 1
