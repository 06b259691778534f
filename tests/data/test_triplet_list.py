"""Ready-made pairs and triplets: linked images are one class, contradictions are named, a study runs on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mlcompare import run_study
from mlcompare.data import load_dataset
from mlcompare.data.triplet_list import linked_classes
from mlcompare.errors import DataError, InvalidValueError

NAMES = "abcdefgh"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(NAMES):
        Image.new("L", (6, 5), 20 * number).save(tmp_path / f"{name}.png")
    return tmp_path


def listed(folder: Path, text: str, **options: object):
    (folder / "list.csv").write_text(text, encoding="utf-8")
    return load_dataset("triplet_list", **{"path": str(folder / "list.csv"), "size": 4, "channels": 1, **options})


def classes_of(data) -> set[frozenset[str]]:
    grouped: dict[int, set[str]] = {}
    for path, label in zip(data.paths, data.labels):
        grouped.setdefault(int(label), set()).add(path.removesuffix(".png"))
    return {frozenset(names) for names in grouped.values()}


def test_linked_images_are_one_class_and_pixels_belong_to_their_names(folder: Path) -> None:
    data = listed(folder, "anchor,positive,negative\na.png,b.png,d.png\nc.png,b.png,\ne.png,f.png,a.png\n")
    assert classes_of(data) == {frozenset("abc"), frozenset("d"), frozenset("ef")}
    assert data.class_names == ("a.png", "d.png", "e.png")
    shades = {path: int(image.mean()) for path, image in zip(data.paths, data.samples)}
    assert shades == {f"{name}.png": 20 * NAMES.index(name) for name in "abdcef"}


def test_pairs_need_no_negatives_and_parquet_agrees(folder: Path) -> None:
    text = listed(folder, "anchor,positive,seen\na.png,b.png,1\nc.png,d.png,2\n")
    rows = {"anchor": ["a.png", "c.png"], "positive": ["b.png", "d.png"], "negative": [None, None], "seen": [1, 2]}
    pd.DataFrame(rows).astype({"negative": "string"}).to_parquet(folder / "list.parquet")
    table = load_dataset("triplet_list", path=str(folder / "list.parquet"), size=4, channels=1)
    assert classes_of(text) == classes_of(table) == {frozenset("ab"), frozenset("cd")}
    assert text.fingerprint == table.fingerprint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("anchor,positive,negative\na.png,b.png,c.png\nb.png,c.png,d.png\n", "'c.png' in row 0"),
        ("anchor,positive,negative\na.png,b.png,a.png\n", "'a.png' in row 0"),
        ("anchor,positive\na.png,\n", "none in row 0"),
        ("anchor,negative\na.png,b.png\n", "`anchor` and `positive`"),
        ("anchor,positive,split\na.png,b.png,train\n", "drop the column"),
        ("anchor,positive\na.png,../b.png\n", "stay in it"),
        ("anchor,positive\n", "at least one image"),
        ("", "an empty file"),
    ],
)
def test_what_is_wrong_is_named(folder: Path, text: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        listed(folder, text)
    assert said in str(caught.value)
    assert "triplet_list" in str(caught.value)


def test_each_kind_of_list_names_the_other(folder: Path) -> None:
    (folder / "list.csv").write_text("anchor,positive\na.png,b.png\n", encoding="utf-8")
    with pytest.raises(DataError, match="triplet_list"):
        load_dataset("image_list", path=str(folder / "list.csv"))
    with pytest.raises(InvalidValueError, match=r"\.csv or \.parquet"):
        load_dataset("triplet_list", path=str(folder / "a.png"))


def test_numbers_are_no_paths(folder: Path) -> None:
    rows = {"anchor": ["a.png"], "positive": ["b.png"], "negative": [3]}
    pd.DataFrame(rows).to_parquet(folder / "list.parquet")
    with pytest.raises(DataError, match="every negative must be text"):
        load_dataset("triplet_list", path=str(folder / "list.parquet"), size=4)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=15))
def test_classes_are_what_can_be_reached(pairs: list[tuple[int, int]]) -> None:
    """Against the reachability matrix of the pairs."""
    reached = np.eye(10, dtype=bool)
    for a, b in pairs:
        reached[a, b] = reached[b, a] = True
    for _ in range(4):
        reached = reached @ reached
    names, classes = linked_classes([str(a) for a, _ in pairs], [str(b) for _, b in pairs])
    assert len(set(names)) == len(names)
    for i, one in enumerate(names):
        for j, other in enumerate(names):
            assert (classes[i] == classes[j]) == reached[int(one), int(other)]


def test_a_study_runs_on_pairs_and_lone_negatives(tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(0), []
    for pair in range(24):
        shade = rng.integers(0, 256, (6, 6))
        for side in "ab":
            noisy = np.clip(shade + rng.integers(-9, 10, (6, 6)), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(tmp_path / f"{pair}{side}.png")
        rows.append((f"{pair}a.png", f"{pair}b.png", f"{(pair + 1) % 24}a.png" if pair % 2 else None))
    Image.new("L", (6, 6), 9).save(tmp_path / "alone.png")
    rows.append(("0a.png", "0b.png", "alone.png"))
    pd.DataFrame(rows, columns=["anchor", "positive", "negative"]).to_csv(tmp_path / "list.csv", index=False)
    study = {
        "name": "pairs", "dataset": {"name": "triplet_list", "path": str(tmp_path / "list.csv"), "size": 6},
        "protocol": {"test_classes": 0.4, "folds": 2}, "encoder": {"name": "linear", "embedding_dim": 4},
        "training": {"steps": 3, "classes_per_batch": 4, "samples_per_class": 2}, "search": {"trials": 1},
        "final": {"seeds": 1}, "losses": {"triplet": None, "n_pair": None}, "baselines": "none",
    }  # fmt: skip
    outcome = run_study(study, tmp_path / "store", executor="in-process")
    assert outcome.trained == 8
