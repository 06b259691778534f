"""Frozen encoders: features once, cached by content, and heads trained on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mlcompare import load_results
from mlcompare.data import Dataset, load_dataset
from mlcompare.encoders import create_encoder
from mlcompare.errors import DataError, StoreError, StudyFileError
from mlcompare.export.embed import load_model
from mlcompare.export.model_folder import export_model
from mlcompare.study import make_plan, read_study, run_study
from mlcompare.study.config import validated
from mlcompare.training import frozen
from mlcompare.training.frozen import frozen_features

STUDY = Path(__file__).parents[2] / "studies" / "features.yaml"
CONV = {"channels": [4, 8]}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mlcompare" / "features"


@pytest.fixture
def images() -> Dataset:
    rng = np.random.default_rng(0)
    samples = rng.integers(0, 256, size=(12, 1, 8, 8)).astype(np.uint8)
    return Dataset("noise", samples, np.repeat(np.arange(3), 4), ("a", "b", "c"))


def test_features_are_what_enters_the_last_layer(images: Dataset, tmp_path: Path) -> None:
    rows = np.arange(8)
    features = frozen_features(images, "conv", CONV, rows, cache=tmp_path)
    encoder = create_encoder("conv", input_shape=(1, 8, 8), embedding_dim=1, **CONV).eval()
    pixels = images.samples.astype(np.float64)
    standard = (pixels - pixels[rows].mean()) / pixels[rows].std()
    with torch.no_grad():
        expected = encoder[:-1](torch.as_tensor(standard, dtype=torch.float32)).numpy()
    np.testing.assert_allclose(features.samples, expected, rtol=1e-4, atol=1e-5)
    assert features.sample_shape == (8 * 2 * 2,)
    assert features.labels is images.labels


def test_they_are_computed_once(images: Dataset, tmp_path: Path, monkeypatch) -> None:
    first = frozen_features(images, "conv", CONV, np.arange(8), cache=tmp_path)
    (file,) = tmp_path.iterdir()
    with monkeypatch.context() as patched:
        patched.setattr(frozen, "embed", None)
        again = frozen_features(images, "conv", CONV, np.arange(8), cache=tmp_path)
    assert np.array_equal(first.samples, again.samples)
    assert first.fingerprint == again.fingerprint
    file.write_bytes(file.read_bytes()[:100])
    mended = frozen_features(images, "conv", CONV, np.arange(8), cache=tmp_path)
    assert np.array_equal(first.samples, mended.samples), "a damaged file is no answer"


def test_whatever_decides_them_makes_others(images: Dataset, tmp_path: Path) -> None:
    other = Dataset("noise", images.samples[::-1].copy(), images.labels, images.class_names)
    torch.save(
        create_encoder("conv", input_shape=(1, 8, 8), embedding_dim=5, seed=9, **CONV).state_dict(), tmp_path / "w"
    )
    found = [
        frozen_features(images, "conv", CONV, np.arange(8), cache=tmp_path / "c"),
        frozen_features(other, "conv", CONV, np.arange(8), cache=tmp_path / "c"),
        frozen_features(images, "conv", CONV, np.arange(6), cache=tmp_path / "c"),
        frozen_features(images, "conv", {"channels": [4, 8, 2]}, np.arange(8), cache=tmp_path / "c"),
        frozen_features(images, "conv", CONV, np.arange(8), weights=str(tmp_path / "w"), cache=tmp_path / "c"),
    ]
    assert len({features.fingerprint for features in found}) == len(found)
    assert len(list((tmp_path / "c").iterdir())) == len(found)


def test_a_cache_that_cannot_be_written_is_done_without(images: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert len(frozen_features(images, "conv", CONV, np.arange(8), cache=tmp_path / "file")) == 12


def test_weights_that_do_not_fit_are_named(images: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must exist"):
        frozen_features(images, "conv", CONV, np.arange(8), weights=str(tmp_path / "none.pt"))
    torch.save(create_encoder("conv", input_shape=(1, 8, 8), embedding_dim=5).state_dict(), tmp_path / "w.pt")
    with pytest.raises(DataError, match="must fit the encoder") as caught:
        frozen_features(images, "conv", CONV, np.arange(8), weights=str(tmp_path / "w.pt"))
    assert "\n" not in str(caught.value)
    assert "don't" in str(caught.value), "the first ones are named with both shapes"
    (tmp_path / "x.pt").write_bytes(b"no weights")
    with pytest.raises(DataError, match="must be a readable state dict"):
        frozen_features(images, "conv", CONV, np.arange(8), weights=str(tmp_path / "x.pt"))


@pytest.mark.slow
def test_an_exported_model_is_frozen_with_its_own_statistics(tiny: dict, tmp_path: Path) -> None:
    tiny["encoder"] = {"name": "conv", "embedding_dim": 8, **CONV}
    run_study(tiny, store=tmp_path / "store", executor="in-process")
    model = export_model(tmp_path / "store", "cosface", tmp_path / "model")
    tiny["encoder"] = {"name": "conv", **CONV, "frozen": True, "weights": str(tmp_path / "model"), "head": "mlp"}
    plan = make_plan(validated(tiny, "study"))
    assert plan.data.dataset.sample_shape == (8 * 2 * 2,)
    assert (plan.encoder.name, plan.encoder.embedding_dim) == ("mlp", 64)
    digits = validated(tiny, "study").dataset
    from mlcompare.data import load_dataset

    samples = torch.as_tensor(load_dataset(digits.name).samples)
    mean, std = (model.card["input"][key][0] for key in ("mean", "std"))
    encoder = create_encoder("conv", input_shape=(1, 8, 8), embedding_dim=8, **CONV).eval()
    encoder.load_state_dict(torch.load(tmp_path / "model" / "weights.pt", weights_only=True))
    with torch.no_grad():
        expected = encoder[:-1]((samples.float() - mean) / std).numpy()
    np.testing.assert_allclose(plan.data.dataset.samples, expected, rtol=1e-3, atol=1e-4)


def test_a_frozen_encoder_and_its_head_are_exported_as_one(tiny: dict, tmp_path: Path) -> None:
    weights = tmp_path / "w.pt"
    torch.save(create_encoder("conv", input_shape=(1, 8, 8), embedding_dim=3, seed=9, **CONV).state_dict(), weights)
    head = {"name": "mlp", "width": 12}
    tiny["encoder"] = {"name": "conv", **CONV, "frozen": True, "weights": str(weights), "head": head}
    tiny["search"]["trials"], tiny["losses"] = 1, {"contrastive": None}
    run_study(tiny, store=tmp_path / "store", executor="in-process")
    found = export_model(tmp_path / "store", "contrastive", tmp_path / "model", far=1e-2)
    assert found.card["encoder"]["head"] == {"name": "mlp", "options": {"width": 12}}
    with np.load(tmp_path / "store/artifacts/final/contrastive/0/fold0-seed0.npz") as arrays:
        rows, expected = arrays["rows"], arrays["embeddings"]
    samples = torch.as_tensor(load_dataset("digits").samples[rows])
    weights.unlink()  # the model brings its own
    model, _ = load_model(tmp_path / "model")
    program = torch.export.load(tmp_path / "model" / "model.pt2").module()
    with torch.no_grad():
        np.testing.assert_allclose(model(samples).numpy(), expected, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(program(samples.float()).numpy(), expected, rtol=1e-3, atol=1e-4)
    torch.save(create_encoder("conv", input_shape=(1, 8, 8), embedding_dim=3, seed=8, **CONV).state_dict(), weights)
    with pytest.raises(StoreError, match=r"dataset must be the study's.*weights of a frozen encoder"):
        export_model(tmp_path / "store", "contrastive", tmp_path / "other")


@pytest.mark.parametrize(
    ("encoder", "parts"),
    [
        ({"name": "conv", "head": "mlp"}, ["encoder", "frozen: true"]),
        ({"name": "conv", "weights": "x.pt"}, ["encoder", "x.pt", "must exist"]),
        ({"name": "conv", "frozen": True, "weights": "none.pt"}, ["encoder", "none.pt", "must exist"]),
        ({"name": "conv", "frozen": True, "head": "conv"}, ["encoder.head", "takes images"]),
        ({"name": "conv", "frozen": True, "head": {"name": "mlp", "widht": 3}}, ["encoder.head", "did you mean width"]),
        ({"name": "convv", "frozen": True}, ["encoder", "did you mean conv"]),
    ],
)
def test_mistakes_are_named(tiny: dict, encoder: dict, parts: list[str]) -> None:
    with pytest.raises(StudyFileError) as caught:
        make_plan(validated(tiny | {"encoder": encoder}, "study"))
    for part in parts:
        assert part in str(caught.value), str(caught.value)


def test_a_frozen_encoder_takes_no_augmentation(tiny: dict) -> None:
    tiny["encoder"] = {"name": "conv", "frozen": True}
    tiny["training"]["augment"] = {"flip": 0.5}
    with pytest.raises(StudyFileError, match="embeds each image once"):
        make_plan(validated(tiny, "study"))


def test_the_features_study_runs(tmp_path: Path, own_cache: Path) -> None:
    study = read_study(STUDY).replaced(trials=2, steps=20, seeds=1)
    run_study(study, store=tmp_path / "store", executor="in-process")
    results = load_results(tmp_path / "store")
    assert set(results["status"]) == {"ok"}
    assert {"softmax", "contrastive", "raw_pixels"} <= set(results["loss"])
    assert len(list(own_cache.iterdir())) == 1
