"""A study whose test is a list of pairs: its people are sealed, and only verification metrics count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlcompare.comparison import load_results
from mlcompare.data import read_pairs
from mlcompare.errors import StudyFileError
from mlcompare.evaluation import evaluate_embeddings
from mlcompare.export.model_folder import export_model
from mlcompare.report import write_report
from mlcompare.study import make_plan, run_study
from mlcompare.study.config import validated


@pytest.fixture
def study(tiny, tmp_path: Path) -> dict:
    rng = np.random.default_rng(0)
    for person in range(14):
        pattern = rng.integers(0, 200, (8, 8))
        for photo in range(1, 7):
            file = tmp_path / "faces" / f"p{person}" / f"{photo}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((pattern + rng.integers(0, 56, (8, 8))).astype(np.uint8)).save(file)
    lines = ["2 4"]
    for fold in range(2):
        people = range(2 * fold, 2 * fold + 2)
        lines += [f"p{p} {n} {n + 1}" for p in people for n in (1, 3)]
        lines += [f"p{2 * fold} {n} p{2 * fold + 1} {n}" for n in range(1, 5)]
    (tmp_path / "pairs.txt").write_text("\n".join(lines) + "\n")
    tiny["dataset"] = {"name": "image_folder", "path": str(tmp_path / "faces"), "size": 8, "channels": 1}
    tiny["protocol"] = {"kind": "verification_pairs", "pairs": str(tmp_path / "pairs.txt"), "folds": 2}
    tiny["search"] |= {"objective": "verification_accuracy", "trials": 2}
    return tiny


def test_a_study_on_pairs(study, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run_study(study, store, executor="in-process")
    results = load_results(store)
    final = results[(results["kind"] == "final") & (results["split"] == "test")]
    assert set(final["metric"]) == {"verification_accuracy", "auc", "eer"}, "8 negatives are too few for FAR = 1e-2"
    kept = next((store / "artifacts" / "final" / "cosface").rglob("*.npz"))
    with np.load(kept) as arrays:
        embeddings, labels, rows = arrays["embeddings"], arrays["labels"], arrays["rows"]
    data = make_plan(validated(study, "study")).data
    pairs = read_pairs(study["protocol"]["pairs"], data.dataset)
    assert set(data.dataset.labels[rows]) == {data.dataset.class_names.index(f"p{p}") for p in range(4)}
    listed = (np.searchsorted(rows, pairs.a), np.searchsorted(rows, pairs.b), pairs.same, pairs.fold)
    by_hand = evaluate_embeddings(embeddings, labels, ["verification_accuracy", "auc"], pairs=listed)
    mine = final[(final["loss"] == "cosface") & (final["fold"] == int(kept.stem[4]))]
    for metric, value in by_hand.items():
        assert value in mine[mine["metric"] == metric]["value"].to_list()
    assert "verification_pairs" in write_report([store]).read_text()
    export_model(store, "cosface", tmp_path / "model")


def test_mistakes_are_named(study) -> None:
    def refused(rule: str, **sections) -> None:
        changed = {**study, **{name: {**study[name], **change} for name, change in sections.items()}}
        with pytest.raises(StudyFileError, match=rule):
            make_plan(validated(changed, "study"))

    refused(
        "search.objective: pairs are scored by verification metrics, got map_at_r", search={"objective": "map_at_r"}
    )
    refused("protocol: `pairs` and `kind` must fit", protocol={"kind": "class_disjoint"})
    refused("protocol: `pairs` and `kind` must fit", protocol={"pairs": None})
    refused("nothing there", protocol={"pairs": "none.txt"})
    refused(r"protocol.pairs.*a .txt or a .bin file", protocol={"pairs": "pairs.csv"})
