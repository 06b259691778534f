"""The nearest of a gallery and two samples compared: the cosines of the study, and the verdict of the card."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mlcompare.data import load_dataset
from mlcompare.errors import InvalidValueError
from mlcompare.export import find_neighbours, verify_pair
from mlcompare.export.model_folder import Exported, export_model
from mlcompare.study import run_study
from tests.cli.test_cli import call
from tests.study.conftest import TINY


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Exported:
    folder = tmp_path_factory.mktemp("matches")
    config = {**TINY, "encoder": {"name": "conv", "embedding_dim": 8, "channels": [4]}, "baselines": "none"}
    run_study(config, folder / "store", executor="in-process")
    return export_model(folder / "store", "cosface", folder / "model", far=0.1)


@pytest.fixture(scope="module")
def sealed(exported) -> dict[str, np.ndarray]:
    """The study's own embeddings of its sealed samples, by the same weights."""
    trial = exported.card["trial"]
    with np.load(exported.path.parent / f"store/artifacts/final/cosface/{trial}/fold0-seed0.npz") as arrays:
        return dict(arrays.items())


@pytest.fixture(scope="module")
def images(sealed, tmp_path_factory) -> Path:
    """Forty of the sealed samples as a folder of images, named by their place among them."""
    root, samples = tmp_path_factory.mktemp("images"), load_dataset("digits").samples
    for place in range(40):
        path = root / str(sealed["labels"][place]) / f"{place}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(samples[sealed["rows"][place], 0]).save(path)
    return root


def cosines(sealed: dict[str, np.ndarray]) -> np.ndarray:
    vectors = sealed["embeddings"][:40].astype(float)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors @ vectors.T


def test_the_nearest_are_those_of_the_studys_own_embeddings(exported, sealed, images) -> None:
    expected = cosines(sealed) - 3 * np.eye(40)
    found = find_neighbours(exported.path, images, images, top=3)
    assert len(found.found) == 120
    assert found.threshold == exported.card["threshold"]["cosine"]
    place_of = [int(Path(name).stem) for name in found.gallery.names]
    for match in found.found:
        query, neighbour = place_of[match.query], place_of[match.row]
        assert query != neighbour, "nobody is found for itself"
        assert match.cosine == pytest.approx(expected[query, neighbour], abs=1e-5)
        assert match.cosine == pytest.approx(np.sort(expected[query])[-match.rank], abs=1e-5)
        assert match.same == (match.cosine >= found.threshold)
    assert {match.rank for match in found.found} == {1, 2, 3}


def test_one_image_of_the_gallery_is_not_found_for_itself(exported, images) -> None:
    one = sorted(images.rglob("*.png"))[0]
    names = [m.row for m in find_neighbours(exported.path, images, one, top=99).found]
    assert len(names) == 39
    elsewhere = images.parent / "elsewhere.png"
    elsewhere.write_bytes(one.read_bytes())
    first = find_neighbours(exported.path, images, elsewhere, top=1).found[0]
    assert first.cosine == pytest.approx(1)
    assert first.same


def test_the_verdict_is_the_thresholds(exported, images, sealed) -> None:
    a, b = (next(images.rglob(f"{place}.png")) for place in (3, 7))
    cosine, same, limit, _ = verify_pair(exported.path, a, b)
    assert cosine == pytest.approx(cosines(sealed)[3, 7], abs=1e-5)
    assert limit == exported.card["threshold"]["cosine"]
    assert same == (cosine >= limit)
    other = exported.card["threshold"]["others"][0]
    assert verify_pair(exported.path, a, b, far=other["far"])[2] == other["cosine"]
    assert verify_pair(exported.path, a, b, threshold=-1.0)[1] is True
    assert verify_pair(exported.path, a, b, threshold=1.1)[1] is False
    with pytest.raises(InvalidValueError, match="must know a threshold"):
        verify_pair(exported.path, a, b, far=0.37)


def test_the_commands_list_and_draw(exported, images, tmp_path, capsys) -> None:
    out = tmp_path / "found.html"
    code, text, err = call(capsys, "neighbours", exported.path, images, images, "--top", "2", "--out", out)
    assert code == 0
    assert "same class" in text
    assert f"drew 40 queries in {out}" in err
    page = out.read_text(encoding="utf-8")
    assert page.count("<img ") == 40 * 3
    assert page.count('class="query"') == 40
    assert "https://" not in page.replace("http://www.w3.org", ""), "it needs no network"
    rows = json.loads(call(capsys, "neighbours", exported.path, images, images, "--top", "2", "-f", "json")[1])
    assert page.count(", of one class") == sum(row["same_class"] for row in rows)
    assert {"query", "rank", "neighbour", "label", "cosine", "same_class"} == set(rows[0])
    listed = list(csv.DictReader(io.StringIO(
        call(capsys, "neighbours", exported.path, images, images, "--top", "2", "-f", "csv")[1]
    )))  # fmt: skip
    assert [row["neighbour"] for row in listed] == [row["neighbour"] for row in rows]
    a, b = sorted(images.rglob("*.png"))[:2]
    code, text, _ = call(capsys, "verify", exported.path, a, b, "--threshold", "-1")
    assert (code, text.startswith("the same class: cosine ")) == (0, True)
    assert json.loads(call(capsys, "verify", exported.path, a, b, "-f", "json")[1])[0]["same_class"] in (True, False)


@pytest.fixture(scope="module")
def of_features(tmp_path_factory) -> Path:
    """A model of features as they are, whose card knows no threshold."""
    import torch

    path = tmp_path_factory.mktemp("features") / "model"
    path.mkdir()
    card = {"format": 1, "encoder": {"name": "linear", "embedding_dim": 2, "options": {}}}
    card |= {"input": {"kind": "features", "shape": [2], "mean": [0.0, 0.0], "std": [1.0, 1.0]}}
    (path / "card.json").write_text(json.dumps(card))
    torch.save({"1.weight": torch.eye(2), "1.bias": torch.zeros(2)}, path / "weights.pt")
    return path


def test_tables_are_compared_row_by_row(of_features, tmp_path, capsys) -> None:
    table = pd.DataFrame({"a": [1.0, 1.0, 0.0], "b": [0.0, 1.0, 2.0], "label": ["x", "y", "z"]})
    table.to_parquet(tmp_path / "t.parquet")
    rows = json.loads(
        call(capsys, "neighbours", of_features, tmp_path / "t.parquet", tmp_path / "t.parquet", "-f", "json")[1]
    )
    first = [
        (row["query"], row["neighbour"], row["label"], round(row["cosine"], 3)) for row in rows if row["rank"] == 1
    ]
    assert first == [("0", "1", "y", 0.707), ("1", "0", "x", 0.707), ("2", "1", "y", 0.707)]
    assert all(row["same_class"] is None for row in rows), "there is no threshold"
    assert len(rows) == 6
    np.savez(tmp_path / "a.npz", features=np.array([[2.0, 0.0]]))
    np.savez(tmp_path / "b.npz", features=np.array([[0.0, 5.0]]))
    code, text, _ = call(capsys, "verify", of_features, tmp_path / "a.npz", tmp_path / "b.npz")
    assert (code, "cosine 0.000; the model's card has no threshold" in text) == (0, True)


def test_what_does_not_fit_is_refused(exported, of_features, images, tmp_path, capsys) -> None:
    for words, reason in [
        (("neighbours", exported.path, images, images, "--out", tmp_path / "x.png"), "must end in .html"),
        (("neighbours", exported.path, images, tmp_path / "none"), "the input must exist"),
        (("neighbours", exported.path, images, images, "--out", tmp_path / "none" / "x.html"), "must be writable"),
        (("verify", exported.path, images, images), "two samples are verified, got 40 samples"),
        (("verify", tmp_path, images, images), "a model holds a readable card.json"),
    ]:
        code, _, err = call(capsys, *words)
        assert (code, reason in err) == (2, True), err
    np.savez(tmp_path / "t.npz", features=np.eye(2))
    words = ("neighbours", of_features, tmp_path / "t.npz", tmp_path / "t.npz", "--out", tmp_path / "x.html")
    assert "pictures are drawn of images" in call(capsys, *words)[2]
    assert not (tmp_path / "x.html").exists()
