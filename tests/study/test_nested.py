"""Nested studies: every class is sealed once, each part has a search of its own, and the tables are one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mlcompare.challenge import challenge_store
from mlcompare.cli import main
from mlcompare.comparison import compare
from mlcompare.data import draw_splits
from mlcompare.errors import InvalidValueError, StoreError, StudyFileError
from mlcompare.export import export_model
from mlcompare.report import write_report
from mlcompare.study import run_study
from mlcompare.study.doctor import check_store, rebuild_views
from mlcompare.training import BASELINES, register_baseline

MEASURED = ["seconds", "peak_memory"]


@pytest.fixture
def study(tmp_path: Path) -> Iterator[dict]:
    """Eighteen classes of eight samples, and a baseline that is scored once for all folds."""

    @register_baseline("as_they_are", fitted=False, replace=True)
    def as_they_are(job, data):
        """The features."""
        return lambda rows: torch.as_tensor(data.dataset.samples[rows])

    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(18), 8)
    features = rng.normal(size=(18, 10))[labels] + 0.6 * rng.normal(size=(144, 10))
    np.savez(tmp_path / "data.npz", features=features.astype(np.float32), labels=labels)
    yield {
        "name": "nested", "dataset": {"name": "features", "path": str(tmp_path / "data.npz")},
        "protocol": {"outer_folds": 3, "folds": 2}, "encoder": {"name": "linear", "embedding_dim": 6},
        "training": {"steps": 4, "classes_per_batch": 3, "samples_per_class": 4},
        "search": {"trials": 3, "parallel": 2}, "final": {"seeds": 1},
        "losses": {"cosface": None, "triplet": None}, "baselines": ["untrained_encoder", "as_they_are"],
    }  # fmt: skip
    BASELINES._records.pop("as_they_are")


def test_every_class_is_sealed_once() -> None:
    labels = np.repeat(np.arange(17), 5)
    parts = [draw_splits(labels, folds=2, outer_folds=3, outer_fold=number) for number in range(3)]
    sealed = np.concatenate([splits.test for splits in parts])
    assert sorted(sealed) == list(range(len(labels)))
    for splits in parts:
        assert not set(labels[splits.test]) & set(labels[splits.development])
        for fold in splits.folds:
            assert not set(labels[fold.train]) & set(labels[fold.validation])
    assert len({splits.hash for splits in parts}) == 3


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"outer_folds": 3, "test_classes": 0.3}, "seal every class once"),
        ({"outer_folds": 3, "kind": "closed_set"}, "seal every class once"),
        ({"outer_folds": 3, "outer_fold": 3}, "outer_fold < outer_folds"),
        ({"outer_fold": 1}, "needs `outer_folds`"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict, rule: str, study: dict) -> None:
    with pytest.raises(InvalidValueError, match=rule):
        draw_splits(np.repeat(np.arange(20), 5), **options)
    with pytest.raises(StudyFileError, match=rule):
        run_study({**study, "protocol": options}, "unused")


def table(store: Path) -> pd.DataFrame:
    return pd.read_parquet(store / "results.parquet").drop(columns=MEASURED)


def test_the_parts_are_studies_and_their_tables_one(study: dict, tmp_path: Path) -> None:
    store = tmp_path / "store"
    outcome = run_study(study, store, executor="in-process")
    assert outcome.resumed == 0
    assert outcome.trained > 3 * (2 * 3 * 2)
    whole = table(store)
    assert set(whole["study"]) == {"nested"}
    finals = whole[(whole["kind"] == "final") & (whole["source"] == "selected") & (whole["metric"] == "map_at_r")]
    assert sorted(finals["fold"].unique()) == list(range(6))
    by_class = pd.read_parquet(store / "per_class.parquet")
    tested = by_class[by_class["kind"] == "final"].groupby("class")["fold"].unique()
    assert len(tested) == 18, "twice as many test classes as one seal of half of them has"
    assert all(len({fold // 2 for fold in folds}) == 1 for folds in tested), "each in one part alone"
    for number in range(3):
        part = pd.read_parquet(store / "outer" / str(number) / "results.parquet").drop(columns=MEASURED)
        mine = whole[whole["fold"].isin([2 * number, 2 * number + 1]) & (whole["loss"] != "as_they_are")]
        part = part[part["loss"] != "as_they_are"]
        assert sorted(mine["value"].dropna()) == sorted(part["value"].dropna())
    raw = whole[(whole["loss"] == "untrained_encoder") & (whole["metric"] == "map_at_r")]
    assert sorted(raw["fold"].unique()) == list(range(6))
    once = by_class[by_class["loss"] == "as_they_are"].groupby("class")["fold"].unique()
    assert all(len({fold // 2 for fold in folds}) == 1 for folds in once), "scored once in a part, and in no other"
    assert len(once) == 18
    comparison = compare(store)
    assert not any("plain mean" in note for note in comparison.notes)
    row = next(r for r in comparison.records() if r["loss"] == "cosface")
    assert row["ci_low"] < row["mean"] < row["ci_high"]
    known = json.loads((store / "study.json").read_text(encoding="utf-8"))
    assert len(set(known["splits"])) == 3
    again = run_study(study, store, executor="in-process")
    assert again.trained == 0
    pd.testing.assert_frame_equal(table(store), whole)
    write_report([store], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "What tuning bought" in page
    assert "trials led on validation" not in page, "three searches are no one search"
    assert "-search-part" not in page


def test_an_interrupted_one_goes_on(study: dict, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run_study(study, whole, executor="in-process")
    run_study(study, cut, executor="in-process")
    journal = cut / "outer/1/journal.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:14]))
    (cut / "results.parquet").unlink()
    assert any(line.startswith("1: unfinished") for line in check_store(cut))
    run_study(study, cut, executor="in-process")
    pd.testing.assert_frame_equal(table(cut), table(whole))
    assert not any("fault" in line or "unfinished" in line for line in check_store(cut))


def test_results_in_its_first_part_are_those_of_that_part(study: dict, tmp_path: Path, capsys) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run_study(study, whole, executor="in-process")
    journal = (whole / "outer/0/journal.jsonl").read_bytes().splitlines(keepends=True)
    finals = [at for at, line in enumerate(journal) if b'"kind":"final"' in line]
    (cut / "outer").mkdir(parents=True)
    shutil.copytree(whole / "outer/0", cut / "outer/0", ignore=shutil.ignore_patterns("*.parquet"))
    (cut / "outer/0/journal.jsonl").write_bytes(b"".join(journal[: finals[-1]]))
    for command in ("results", "report"):
        with pytest.raises(SystemExit) as ended:
            main([command, str(cut)])
        assert not ended.value.code
        page = (cut / "report.html").read_text(encoding="utf-8") if command == "report" else capsys.readouterr().out
        assert "final runs; 1: not begun; 2: not begun" in " ".join(page.split())
    run_study(study, cut, executor="in-process")
    pd.testing.assert_frame_equal(table(cut), table(whole))
    assert json.loads((cut / "study.json").read_text()) == json.loads((whole / "study.json").read_text())


def test_doctor_makes_the_tables_anew(study: dict, tmp_path: Path) -> None:
    run_study(study, tmp_path / "store", executor="in-process")
    before = table(tmp_path / "store")
    (tmp_path / "store/results.parquet").unlink()
    rebuild_views(tmp_path / "store")
    pd.testing.assert_frame_equal(table(tmp_path / "store"), before)


def test_what_is_one_parts_is_refused_with_the_part(study: dict, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run_study(study, store, executor="in-process")
    with pytest.raises(StoreError, match="outer/0"):
        export_model(store, "cosface", tmp_path / "model")
    with pytest.raises(StoreError, match="outer/0"):
        challenge_store(store)
    export_model(store / "outer/0", "cosface", tmp_path / "model", far=0.1)


def test_the_command_line_runs_and_ranks_it(study: dict, tmp_path: Path, capsys) -> None:
    (tmp_path / "study.yaml").write_text(json.dumps(study), encoding="utf-8")
    for command in (["check"], ["run", "--store", str(tmp_path / "store"), "--executor", "in-process"]):
        with pytest.raises(SystemExit) as ended:
            main([command[0], str(tmp_path / "study.yaml"), *command[1:]])
        assert not ended.value.code
    told = capsys.readouterr().out
    assert "nested: all of this 3 times" in told
    assert "outer fold 3 of 3" in told
    assert "nested: map_at_r on the sealed test classes" in told
    assert (tmp_path / "store/report.html").is_file()
    part = tmp_path / "store/outer/0"
    assert f"mlcompare dashboard {part}  (then" in told
    with pytest.raises(SystemExit) as refused:
        main(["dashboard", str(tmp_path / "store")])
    assert refused.value.code == 2
    assert f"open one part's: mlcompare dashboard {part};" in capsys.readouterr().err


def test_reading_a_copy_of_the_tables_alone_changes_nothing(study: dict, tmp_path: Path, capsys) -> None:
    run_study(study, store=tmp_path / "store", executor="in-process")
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("study.json", "results.parquet", "per_class.parquet"):
        shutil.copy(tmp_path / "store" / name, copy / name)
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    with pytest.raises(SystemExit) as ended:
        main(["results", str(copy)])
    assert not ended.value.code
    assert "not begun" in capsys.readouterr().out
    rebuild_views(copy)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


def test_a_lost_journal_beside_full_tables_is_a_fault_and_nothing_is_destroyed(tiny: dict, tmp_path: Path) -> None:
    run_study(tiny, tmp_path, executor="in-process")
    before = (tmp_path / "results.parquet").read_bytes()
    for content in (b"", None):
        (tmp_path / "journal.jsonl").unlink(missing_ok=True)
        if content is not None:
            (tmp_path / "journal.jsonl").write_bytes(content)
        (line,) = check_store(tmp_path)
        assert line.startswith("fault: ")
        with pytest.raises(StoreError, match="made from the journal"):
            rebuild_views(tmp_path)
        assert (tmp_path / "results.parquet").read_bytes() == before
