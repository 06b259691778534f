"""A winner as a folder: what it holds, what it gives, and every way it can go wrong."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from mlcompare.data import load_dataset
from mlcompare.errors import DataError, InvalidValueError, MLCompareError, StoreError, UnknownNameError
from mlcompare.evaluation import evaluate_embeddings
from mlcompare.export.embed import embed_file, load_model
from mlcompare.export.model_folder import Exported, export_model
from mlcompare.export.threshold import chosen_threshold
from mlcompare.study import StudyConfig, make_plan, run_study
from mlcompare.study.journal import read_journal
from mlcompare.training import TrainingResult
from tests.cli.test_cli import call
from tests.study.conftest import TINY


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "store"
    config = {**TINY, "encoder": {"name": "conv", "embedding_dim": 8, "channels": [4]}}
    run_study(config, path, executor="in-process")
    return path


@pytest.fixture(scope="module")
def exported(store, tmp_path_factory) -> Exported:
    return export_model(store, "cosface", tmp_path_factory.mktemp("models") / "model", far=1e-2)


@pytest.fixture(scope="module")
def sealed(store, exported) -> dict:
    """What the study itself made of the sealed samples with the same weights."""
    folder = store / "artifacts" / "final" / "cosface" / str(exported.card["trial"])
    with np.load(folder / "fold0-seed0.npz") as arrays:
        return dict(arrays.items())


def test_card_says_what_the_study_knows(store, exported) -> None:
    card, known = exported.card, json.loads((store / "study.json").read_text())
    journal = {r["key"]: r for r in read_journal(store / "journal.jsonl") if r["type"] == "job"}
    record = journal[f"final/cosface/{card['trial']}/fold0/seed0"]
    assert card == json.loads((exported.path / "card.json").read_text())
    assert card["hyperparameters"] == record["hyperparameters"]
    assert card["sealed_test_metrics"] == record["metrics"]
    assert (card["splits"], card["versions"]) == (known["splits"], known["versions"])
    assert card["input"]["shape"] == [1, 8, 8]
    assert sorted(p.name for p in exported.path.iterdir()) == sorted(card["files"])
    assert card["files"] == ["card.json", "weights.pt", "model.pt2", "README.md"]


def test_weights_are_tensors_only(exported) -> None:
    weights = torch.load(exported.path / "weights.pt", weights_only=True)
    assert weights
    assert all(isinstance(value, torch.Tensor) for value in weights.values())


def test_program_and_model_embed_as_the_study_did(exported, sealed) -> None:
    samples = load_dataset("digits").samples[sealed["rows"]]
    program = torch.export.load(exported.path / "model.pt2").module()
    model, _ = load_model(exported.path)
    with torch.no_grad():
        by_model, by_program = (f(torch.as_tensor(samples).float()).numpy() for f in (model, program))
        one = program(torch.as_tensor(samples[:1]).float()).numpy()
    np.testing.assert_allclose(by_model, sealed["embeddings"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(by_program, sealed["embeddings"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(one, by_program[:1], rtol=1e-4, atol=1e-4)


def test_threshold_keeps_the_false_accept_rate(exported, sealed) -> None:
    threshold = exported.card["threshold"]
    assert threshold["far"] == 1e-2
    assert threshold["validation"]["false_accept_rate"] <= 1e-2
    unit = sealed["embeddings"].astype(float)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    upper = np.triu_indices(len(unit), 1)
    accepted = (unit @ unit.T)[upper] >= threshold["cosine"]
    same = (sealed["labels"][:, None] == sealed["labels"])[upper]
    assert threshold["sealed_test"]["false_accept_rate"] == pytest.approx(accepted[~same].mean(), abs=1e-3)
    assert threshold["sealed_test"]["true_accept_rate"] == pytest.approx(accepted[same].mean(), abs=1e-3)


def test_thresholds_of_other_rates_stand_beside_it(exported, sealed) -> None:
    threshold = exported.card["threshold"]
    others = {other["far"]: other for other in threshold["others"]}
    assert 1e-2 not in others, "its own rate stands once"
    assert others[0.1]["cosine"] < threshold["cosine"]
    for far, other in others.items():
        assert other["validation"]["false_accept_rate"] <= far
    unit = sealed["embeddings"].astype(float)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    upper = np.triu_indices(len(unit), 1)
    same = (sealed["labels"][:, None] == sealed["labels"])[upper]
    accepted = (unit @ unit.T)[upper] >= others[0.1]["cosine"]
    assert others[0.1]["sealed_test"]["true_accept_rate"] == pytest.approx(accepted[same].mean(), abs=1e-3)
    assert chosen_threshold(threshold)[0] == threshold["cosine"]
    assert chosen_threshold(threshold, far=0.1)[0] == others[0.1]["cosine"]
    assert chosen_threshold(threshold, cosine=0.3)[0] == 0.3
    with pytest.raises(
        InvalidValueError, match=r"must know a threshold for `--far`, got far=0.37; the card knows .*0\.1"
    ):
        chosen_threshold(threshold, far=0.37)
    with pytest.raises(InvalidValueError, match="got both"):
        chosen_threshold(threshold, far=0.1, cosine=0.3)


def test_export_prints_the_threshold_and_how_to_choose_another(store, tmp_path, capsys) -> None:
    code, out, _ = call(capsys, "export", store, "cosface", "--out", tmp_path / "model", "--far", "0.01")
    card = json.loads((tmp_path / "model" / "card.json").read_text())["threshold"]
    assert code == 0
    assert f"one class from a cosine of {card['cosine']:.3f} on" in out
    assert "on the sealed samples: " in out
    assert f"another threshold: {card['others'][0]['cosine']:.3f} with --far 0.1" in out


def test_too_few_pairs_leave_the_threshold_open(store, tmp_path) -> None:
    found = export_model(store, "contrastive", tmp_path / "model", far=1e-9)
    assert found.card["threshold"]["cosine"] is None
    assert "give a larger --far" in found.notes[0]


def test_embed_a_table_of_images(exported, sealed, tmp_path) -> None:
    samples = load_dataset("digits").samples[sealed["rows"]]
    np.savez(tmp_path / "in.npz", images=samples, labels=sealed["labels"])
    assert embed_file(exported.path, tmp_path / "in.npz", tmp_path / "out.npz") == len(samples)
    with np.load(tmp_path / "out.npz") as out:
        found = evaluate_embeddings(out["embeddings"], out["labels"], metrics=["map_at_r"])
        assert found["map_at_r"] == pytest.approx(exported.card["sealed_test_metrics"]["map_at_r"], abs=1e-4)


def test_embed_a_folder(exported, tmp_path) -> None:
    data = load_dataset("digits")
    for row in (0, 1, 10):
        path = tmp_path / "in" / str(data.labels[row]) / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(data.samples[row, 0]).save(path)
    out = tmp_path / "out.parquet"
    assert embed_file(str(exported.path), str(tmp_path / "in"), str(out), raw=True) == 3  # text will do
    frame = pd.read_parquet(tmp_path / "out.parquet")
    assert frame["names"].tolist() == ["0/0.png", "0/10.png", "1/1.png"]
    assert frame["label"].tolist() == ["0", "0", "1"]
    read = load_dataset("features", path=str(tmp_path / "out.parquet"))
    assert (read.samples.shape, read.labels.tolist()) == ((3, 8), [0, 0, 1])
    model, _ = load_model(exported.path)
    with torch.no_grad():
        expected = model(torch.as_tensor(data.samples[[0, 10, 1]]))
    np.testing.assert_allclose(frame[[f"e{i}" for i in range(8)]].to_numpy(), expected.numpy(), rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def features_model(exported, tmp_path_factory):
    """A model of features: y = 2 (x - 1) in two dimensions."""
    path = tmp_path_factory.mktemp("features") / "model"
    path.mkdir()
    encoder = {"name": "linear", "embedding_dim": 2, "options": {}}
    given = {"kind": "features", "shape": [2], "mean": [1.0, 1.0], "std": [0.5, 0.5]}
    (path / "card.json").write_text(json.dumps({"format": 1, "encoder": encoder, "input": given}))
    torch.save({"1.weight": torch.eye(2), "1.bias": torch.zeros(2)}, path / "weights.pt")
    return path


@pytest.mark.parametrize("kind", ["npz", "parquet"])
def test_embed_a_table_of_features(features_model, tmp_path, kind) -> None:
    table = np.array([[1.0, 2.0], [3.0, 0.0]])
    path = tmp_path / f"in.{kind}"
    if kind == "npz":
        np.savez(path, features=table)
    else:
        pd.DataFrame({"a": table[:, 0], "b": table[:, 1], "label": ["x", "y"]}).to_parquet(path)
    embed_file(features_model, path, tmp_path / "out.npz", raw=True)
    with np.load(tmp_path / "out.npz") as out:
        np.testing.assert_allclose(out["embeddings"], [[0.0, 2.0], [4.0, -2.0]])


def test_embeddings_have_length_one_unless_asked_otherwise(features_model, tmp_path, capsys) -> None:
    np.savez(tmp_path / "in.npz", features=np.array([[1.0, 2.0], [3.0, 0.0], [1.0, 1.0]]))
    code, out, _ = call(capsys, "embed", features_model, tmp_path / "in.npz", "--out", tmp_path / "out.npz")
    assert (code, out.startswith("wrote 3 embeddings of length 1 (--raw leaves them as they are)")) == (0, True)
    with np.load(tmp_path / "out.npz") as found:
        np.testing.assert_allclose(found["embeddings"], [[0, 1], [0.8944272, -0.4472136], [0, 0]], rtol=1e-6)
    code, out, _ = call(capsys, "embed", features_model, tmp_path / "in.npz", "--out", tmp_path / "raw.npz", "--raw")
    assert (code, out.startswith("wrote 3 embeddings as the encoder makes them (--raw)")) == (0, True)
    with np.load(tmp_path / "raw.npz") as found:
        np.testing.assert_allclose(found["embeddings"], [[0, 2], [4, -2], [0, 0]])


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"features": np.zeros((3, 5))}, r"\(N, 2\)"),
        ({"features": np.full((3, 2), np.nan)}, "finite"),
        ({"features": np.array([["a", "b"]])}, "numbers"),
        ({"a": np.zeros((3, 2)), "b": np.zeros((3, 2))}, "named `features`"),
        ({"features": np.array([None, {}], dtype=object)}, "readable"),
    ],
)
def test_tables_that_do_not_fit(features_model, tmp_path, arrays, reason) -> None:
    np.savez(tmp_path / "in.npz", **arrays)
    with pytest.raises(DataError, match=reason):
        embed_file(features_model, tmp_path / "in.npz", tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()


def test_inputs_and_outputs_that_do_not_fit(exported, features_model, tmp_path) -> None:
    with pytest.raises(DataError, match="must exist"):
        embed_file(exported.path, tmp_path / "none", tmp_path / "out.npz")
    with pytest.raises(DataError, match="must hold images"):
        embed_file(exported.path, tmp_path, tmp_path / "out.npz")
    with pytest.raises(DataError, match=r"\.npz or \.parquet"):
        embed_file(features_model, tmp_path, tmp_path / "out.npz")
    with pytest.raises(InvalidValueError, match="must end in"):
        embed_file(exported.path, tmp_path, tmp_path / "out.csv")
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="must be readable"):
        embed_file(exported.path, tmp_path, tmp_path / "out.npz")
    Image.new("L", (8, 8)).save(tmp_path / "bad.png")
    with pytest.raises(StoreError, match="must be writable"):
        embed_file(exported.path, tmp_path, tmp_path / "none" / "out.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["bad.png"]


class Trap:
    """Pickled, it would run code on loading."""

    def __reduce__(self):
        return sys.exit, ("code from a weights file was run",)


def test_models_that_are_broken(exported, tmp_path) -> None:
    with pytest.raises(StoreError, match=r"readable card\.json"):
        load_model(tmp_path)
    model = tmp_path / "model"
    shutil.copytree(exported.path, model)
    torch.save({"0.weight": Trap()}, model / "weights.pt")
    with pytest.raises(StoreError, match="weights must fit"):
        load_model(model)
    (model / "weights.pt").write_bytes((exported.path / "weights.pt").read_bytes()[:200])
    with pytest.raises(StoreError, match="weights must fit"):
        load_model(model)
    (model / "card.json").write_text(json.dumps({**exported.card, "format": 99}))
    with pytest.raises(StoreError, match="format must be known"):
        load_model(model)


def test_exports_that_are_refused(store, exported, tmp_path) -> None:
    for arguments, kind, reason in [
        ((store, "cosfce", tmp_path / "a"), UnknownNameError, "did you mean cosface"),
        ((tmp_path / "none", "cosface", tmp_path / "a"), StoreError, r"study\.json"),
        ((store, "cosface", exported.path), StoreError, "must not exist yet"),
    ]:
        with pytest.raises(kind, match=reason):
            export_model(*arguments)
    for more in ({"far": 0.0}, {"far": 2.0}, {"fold": 7}):
        with pytest.raises(InvalidValueError):
            export_model(store, "cosface", tmp_path / "a", **more)
    assert list(tmp_path.iterdir()) == []


def test_stores_that_have_nothing_to_export(store, tmp_path) -> None:
    copy = tmp_path / "store"
    shutil.copytree(store, copy, ignore=shutil.ignore_patterns("mlflow*", "*.pt"))
    with pytest.raises(StoreError, match="must have left weights"):
        export_model(copy, "cosface", tmp_path / "a")
    lines = [line for line in (copy / "journal.jsonl").read_text().splitlines() if '"opening"' not in line]
    (copy / "journal.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(StoreError, match="selected setting"):
        export_model(copy, "cosface", tmp_path / "a")
    known = json.loads((copy / "study.json").read_text()) | {"dataset": "0" * 64}
    shutil.copytree(store, copy, dirs_exist_ok=True)
    (copy / "study.json").write_text(json.dumps(known))
    with pytest.raises(MLCompareError, match="dataset must be the study's"):
        export_model(copy, "cosface", tmp_path / "a")
    assert [p.name for p in tmp_path.iterdir()] == ["store"]


def test_refit_trains_on_all_that_is_not_sealed(store, tmp_path, capsys) -> None:
    code, out, err = call(capsys, "export", store, "cosface", "--out", tmp_path / "model", "--far", "0.01", "--refit")
    assert code == 0
    assert "note: trained on all development samples (--refit)" in err
    card = json.loads((tmp_path / "model" / "card.json").read_text())
    data, plan = load_dataset("digits"), make_plan(StudyConfig.model_validate(TINY))
    development, sealed = plan.data.splits.development, plan.data.splits.test
    assert card["refit"] == {"samples": len(development), "classes": 6, "steps": 4}
    assert (card["fold"], card["seed"]) == (None, None)
    mean = data.samples[development].mean()
    assert card["input"]["mean"] == pytest.approx([mean], rel=1e-5), "standardised by what it was trained on"
    assert card["threshold"]["measured_on"] == f"{len(sealed)} sealed test samples"
    assert "sealed_test" not in card["threshold"], "rates on the samples it was read off are said once"
    assert f"({len(sealed)} sealed test samples)" in out
    np.savez(tmp_path / "in.npz", images=data.samples[sealed], labels=data.labels[sealed])
    embed_file(tmp_path / "model", tmp_path / "in.npz", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as found:
        scored = evaluate_embeddings(found["embeddings"], found["labels"], metrics=["map_at_r"])
    assert scored["map_at_r"] == pytest.approx(card["sealed_test_metrics"]["map_at_r"], abs=1e-4)
    again = export_model(store, "cosface", tmp_path / "again", far=0.01, refit=True)
    first, second = (torch.load(tmp_path / name / "weights.pt") for name in ("model", "again"))
    assert all(torch.equal(first[key], second[key]) for key in first), "the same store gives the same weights"
    fold = torch.load(export_model(store, "cosface", tmp_path / "fold").path / "weights.pt")
    assert any(not torch.equal(first[key], fold[key]) for key in first)
    assert again.card["hyperparameters"] == card["hyperparameters"]


SMALL = {**TINY, "search": {"trials": 1}, "losses": {"cosface": {"scale": 16}}, "baselines": "none"}


@pytest.mark.parametrize(
    "study",
    [
        {"encoder": {"name": "hog", "frozen": True, "head": "linear", "embedding_dim": 8}},
        {"protocol": {"kind": "closed_set", "folds": 2}, "search": {"trials": 1, "objective": "accuracy"}},
        {"training": {**TINY["training"], "select": "best", "evaluations": 2}},
        {"search": {"trials": 1, "space": {"steps": [3, 5]}}},
        {"corruption": {"label_noise": 0.3}},
        {"losses": {"cosface": {"stages": [{"loss": "softmax", "share": 0.5}, {"loss": "cosface", "share": 0.5}]}}},
    ],
    ids=["frozen", "closed_set", "best", "steps", "noise", "stages"],
)
def test_every_kind_of_study_is_refitted(study: dict, tmp_path) -> None:
    run_study({**SMALL, **study}, tmp_path / "store", executor="in-process")
    found = export_model(tmp_path / "store", "cosface", tmp_path / "model", far=0.1, refit=True)
    plan = make_plan(StudyConfig.model_validate({**SMALL, **study}))
    assert found.card["refit"]["samples"] == len(plan.data.splits.development)
    key = f"final/cosface/{found.card['trial']}/fold0/seed0"
    record = next(r for r in read_journal(tmp_path / "store/journal.jsonl") if r.get("key") == key)
    assert found.card["refit"]["steps"] == record["step"]
    assert found.card["sealed_test_metrics"].keys() == record["metrics"].keys()
    assert load_model(tmp_path / "model")[1]["refit"] == found.card["refit"]


def test_a_refit_that_fails_leaves_nothing(store, tmp_path, monkeypatch) -> None:
    def failing(job, _data):
        return TrainingResult(job.key, status="failed", reason="diverged")

    monkeypatch.setattr("mlcompare.export.refit.train", failing)
    with pytest.raises(StoreError, match="training on all development samples must succeed, got diverged"):
        export_model(store, "cosface", tmp_path / "model", refit=True)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_tells_people_what_it_is(store, exported, tmp_path) -> None:
    text = (exported.path / "README.md").read_text(encoding="utf-8")
    card, threshold = exported.card, exported.card["threshold"]
    for heading in ("Use", "Data", "Training", "Scores", "Threshold", "Limits", "Licence"):
        assert text.count(f"\n## {heading}\n") == 1
    for metric, value in card["sealed_test_metrics"].items():
        assert f"| {metric} | {value:.3f} |" in text
    assert "`cosface` (margin) with scale = 16" in text
    assert "among 3 settings. 4 steps of 12 samples" in text
    assert "`digits`: 1797 samples of 10 classes. Credit: E. Alpaydin" in text
    assert f"from a cosine of {threshold['cosine']:.3f} on" in text
    assert "4 classes (" in text
    assert "4 sealed classes are few" in text
    assert not [line for line in text.splitlines() if line != line.rstrip()]
    again = export_model(store, "cosface", tmp_path / "model", far=1e-9, refit=True)
    text = (again.path / "README.md").read_text(encoding="utf-8")
    assert f"Trained on {again.card['refit']['samples']} of them, all that are not sealed." in text
    assert "- None for a false accept rate of 1e-09" in text


def test_commands_of_the_folders_page_work(exported, tmp_path, monkeypatch, capsys) -> None:
    """As they stand there, from within the folder."""
    folder = tmp_path / "model"
    shutil.copytree(exported.path, folder)
    monkeypatch.chdir(folder)
    data = load_dataset("digits")
    for row, name in ((0, "photos/a/0.png"), (1, "photos/b/1.png"), (2, "photo.png"), (3, "other.png")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(data.samples[row, 0]).save(folder / name)
    lines = (folder / "README.md").read_text(encoding="utf-8").splitlines()
    commands = [line.removeprefix("$ mlcompare ").split() for line in lines if line.startswith("$ mlcompare ")]
    assert [words[0] for words in commands] == ["embed", "neighbours", "verify"]
    for words in commands:
        assert call(capsys, *words)[0] == 0
