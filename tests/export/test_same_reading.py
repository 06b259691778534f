"""What was trained on is read the same way again: by `embed`, and by `export` from elsewhere or after a move."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from mlcompare.cli import main
from mlcompare.data import load_dataset
from mlcompare.errors import DataError, InvalidValueError, StoreError
from mlcompare.export import embed_file, export_model
from mlcompare.export.embed import load_model
from mlcompare.study import run_study
from tests.study.conftest import TINY

STUDY = {
    **TINY,
    "protocol": {"test_classes": 0.34, "folds": 2},
    "training": {"steps": 2, "classes_per_batch": 2, "samples_per_class": 2},
    "search": {"trials": 1},
    "losses": {"cosface": {"scale": 16}},
    "baselines": [],
}
ROUNDING = {"rtol": 1e-4, "atol": 1e-6}  # a matrix product's last bits depend on where its operands lie in memory
ENDINGS = ("png", "tga", "jfif", "jp2", "bmp", "webp")


def photographs(root: Path) -> Path:
    generator = np.random.default_rng(0)
    for label in range(6):
        for number in range(4):
            file = root / "animals" / f"c{label}" / f"{number}.{ENDINGS[(label + number) % len(ENDINGS)]}"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(0, 255, (8, 8), dtype=np.uint8)).save(file)
        (file.parent / "._0.jpg").write_bytes(b"a system's own")
        (file.parent / "@eaDir").mkdir()
        shutil.copy(file, file.parent / "@eaDir" / file.name)
    (file.parent / "x.heic").write_bytes(b"no image here")
    Image.fromarray(np.full((8, 8), 3000, np.uint16)).save(file.parent / "deep.png")
    (file.parent / "broken.png").write_bytes(b"no image at all")
    return root / "animals"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the images that a study was run on, and its store."""
    root = tmp_path_factory.mktemp("images")
    options = {"path": str(photographs(root)), "size": [8, 8], "channels": 1, "skip_corrupt": True}
    run_study({**STUDY, "dataset": {"name": "image_folder", **options}}, root / "store", executor="in-process")
    export_model(root / "store", "cosface", root / "model", far=0.5)
    return root


def test_the_folder_that_was_trained_on_is_embedded_as_it_was_read(images: Path, tmp_path: Path) -> None:
    data = load_dataset("image_folder", path=str(images / "animals"), size=[8, 8], channels=1, skip_corrupt=True)
    notes: list[str] = []
    count = embed_file(images / "model", images / "animals", tmp_path / "out.npz", raw=True, note=notes.append)
    assert count == len(data) == 25
    assert tuple(notes) == data.notes, "what was left out, could not be read and how deep it was"
    model, card = load_model(images / "model")
    assert card["input"]["bits"] == 12
    with np.load(tmp_path / "out.npz") as out, torch.no_grad():
        assert out["names"].tolist() == list(data.paths)
        assert out["labels"].tolist() == [data.class_names[label] for label in data.labels]
        expected = model(torch.as_tensor(data.samples)).numpy()
        np.testing.assert_allclose(out["embeddings"], expected, rtol=1e-4, atol=1e-5)


def test_a_split_and_its_classes_are_those_of_training(images: Path, tmp_path: Path) -> None:
    for part in ("train", "test"):
        shutil.copytree(images / "animals" / "c0", tmp_path / "x" / part / "cat")
    embed_file(images / "model", tmp_path / "x", tmp_path / "out.parquet")
    data = load_dataset("features", path=str(tmp_path / "out.parquet"))
    assert data.class_names == ("cat",)
    assert data.split.tolist() == ["test"] * 4 + ["train"] * 4
    Image.new("L", (8, 8)).save(tmp_path / "x" / "loose.png")
    embed_file(images / "model", tmp_path / "x", tmp_path / "loose.npz")
    with np.load(tmp_path / "loose.npz") as out:
        assert "labels" not in out, "an image of no folder has no class"


def test_the_command_tells_what_was_left_out(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["embed", str(images / "model"), str(images / "animals"), "--out", str(tmp_path / "out.npz")])
    assert not ended.value.code
    told = capsys.readouterr().err
    assert "broken.png" in told
    assert "note: 1 file that Pillow does not read as images (1 × .heic)" in told
    assert "12 hidden or system files or folders" in told


def refused(words: list[str], capsys: pytest.CaptureFixture) -> str:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_export_finds_data_that_have_moved(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "moved").mkdir()
    monkeypatch.chdir(tmp_path / "moved")
    shutil.copytree(images / "store", tmp_path / "store")
    kept = images / "elsewhere"
    (images / "animals").rename(kept)
    try:
        told = refused(["export", str(tmp_path / "store"), "cosface", "--out", "model"], capsys)
        assert "--data PATH" in told
        assert "nothing at" in told
        shutil.copytree(kept, tmp_path / "moved" / "photographs")
        export_model(tmp_path / "store", "cosface", "model", far=0.5, data="photographs")
        assert json.loads(Path("model/card.json").read_text())["input"]["bits"] == 12
        (tmp_path / "moved" / "photographs" / "c1" / "0.tga").unlink()
        told = refused(["export", str(tmp_path / "store"), "cosface", "--out", "m", "--data", "photographs"], capsys)
        assert "the dataset must be the study's" in told
        assert "did you mean" in refused(
            ["export", str(tmp_path / "store"), "cosface", "--out", "m", "--data", "photographs "], capsys
        )
    finally:
        kept.rename(images / "animals")


def test_data_that_a_dataset_brings_can_not_be_elsewhere(tmp_path: Path) -> None:
    run_study({**STUDY, "dataset": "digits"}, tmp_path / "store", executor="in-process")
    with pytest.raises(InvalidValueError, match="leave out --data: digits brings its data"):
        export_model(tmp_path / "store", "cosface", tmp_path / "model", data=tmp_path)


# ---------------------------------------------------------------- tables


def frame(rows: int = 24) -> pd.DataFrame:
    drawn = np.random.default_rng(1).normal(size=(rows, 5)) * [1, 5, 25, 125, 625]
    table = pd.DataFrame({name: drawn[:, place] for place, name in enumerate("abc")})
    table["e"] = list(drawn[:, 3:])
    table["row"] = np.arange(rows)
    table["label"] = [f"c{row % 6}" for row in range(rows)]
    return table


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("table")
    frame().to_parquet(root / "x.parquet")
    dataset = {"name": "features", "path": str(root / "x.parquet"), "ignore": ["row"]}
    run_study({**STUDY, "dataset": dataset}, root / "store", executor="in-process")
    export_model(root / "store", "cosface", root / "model", far=0.5)
    return root


def embedded(table: Path, changed: pd.DataFrame, folder: Path) -> tuple[np.ndarray, list[str]]:
    changed.to_parquet(folder / "in.parquet")
    notes: list[str] = []
    embed_file(table / "model", folder / "in.parquet", folder / "out.npz", raw=True, note=notes.append)
    with np.load(folder / "out.npz") as out:
        assert out["labels"].tolist() == frame()["label"].tolist()
        return out["embeddings"], notes


def test_columns_stand_in_the_order_of_the_card(table: Path, tmp_path: Path) -> None:
    card = json.loads((table / "model" / "card.json").read_text())
    assert card["input"]["columns"] == ["a", "b", "c", "e[0]", "e[1]"]
    as_trained, notes = embedded(table, frame(), tmp_path)
    assert notes == ["columns that the model does not know are left alone: `row`"]
    turned, notes = embedded(table, frame()[["e", "label", "c", "row", "a", "b"]], tmp_path)
    np.testing.assert_allclose(turned, as_trained, **ROUNDING)
    assert any("another order" in note for note in notes)
    wider, notes = embedded(table, frame().assign(more="text", d=1.5)[["d", "more", *frame()]], tmp_path)
    np.testing.assert_allclose(wider, as_trained, **ROUNDING)
    assert "`d`, `more`, `row`" in " ".join(notes)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda t: t.rename(columns={"b": "B2"}), "no `b` .1 of 4 missing"),
        (lambda t: t.drop(columns=["a", "e"]), "no `a`, `e` .2 of 4 missing"),
        (lambda t: t.assign(e=[[1.0, 2.0, 3.0]] * len(t)), r"`e\[2\]`"),
        (lambda t: t.assign(b="text"), "`b` of .*string.*store it as in training"),
    ],
)
def test_tables_without_the_models_columns_are_refused(table: Path, tmp_path: Path, change, rule: str) -> None:
    with pytest.raises(DataError, match=rule):
        embedded(table, change(frame()), tmp_path)
    assert not (tmp_path / "out.npz").exists()


def test_arrays_have_no_names_and_it_is_said(table: Path, tmp_path: Path) -> None:
    matrix = np.column_stack([frame()[["a", "b", "c"]], np.stack(frame()["e"])])
    np.savez(tmp_path / "in.npz", features=matrix, labels=frame()["label"].to_numpy(dtype=str))
    notes: list[str] = []
    embed_file(table / "model", tmp_path / "in.npz", tmp_path / "out.npz", raw=True, note=notes.append)
    assert "as in training (`a`, `b`, `c`, …)" in notes[0]
    with np.load(tmp_path / "out.npz") as out:
        np.testing.assert_allclose(out["embeddings"], embedded(table, frame(), tmp_path)[0], **ROUNDING)


def test_a_card_without_names_takes_the_tables_order_and_says_so(table: Path, tmp_path: Path) -> None:
    shutil.copytree(table / "model", tmp_path / "model")
    card = json.loads((tmp_path / "model" / "card.json").read_text())
    del card["input"]["columns"]
    (tmp_path / "model" / "card.json").write_text(json.dumps(card))
    expected, _ = embedded(table, frame(), tmp_path)
    notes: list[str] = []
    frame().drop(columns=["row"]).to_parquet(tmp_path / "in.parquet")
    embed_file(tmp_path / "model", tmp_path / "in.parquet", tmp_path / "out.npz", raw=True, note=notes.append)
    assert "in their order" in notes[0]
    with np.load(tmp_path / "out.npz") as out:
        np.testing.assert_allclose(out["embeddings"], expected, **ROUNDING)


def test_inputs_of_the_other_kind_are_refused(table: Path, images: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="takes images, not features"):
        embed_file(images / "model", table / "x.parquet", tmp_path / "out.npz")
    with pytest.raises(DataError, match="takes features, not images"):
        embed_file(table / "model", images / "animals", tmp_path / "out.npz")
    with pytest.raises(StoreError, match=r"dataset.path must be where it was"):
        export_model(_without_data(table, tmp_path), "cosface", tmp_path / "model")


def _without_data(table: Path, folder: Path) -> Path:
    shutil.copytree(table / "store", folder / "store")
    known = json.loads((folder / "store" / "study.json").read_text())
    known["study"]["dataset"]["path"] = "gone/x.parquet"
    known["places"]["dataset.path"] = str(folder / "gone" / "x.parquet")
    (folder / "store" / "study.json").write_text(json.dumps(known))
    return folder / "store"
