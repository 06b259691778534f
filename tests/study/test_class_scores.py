"""Scores of very many classes lie in files beside the journal, and nothing else of a store changes."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest

from mlcompare.errors import StoreError
from mlcompare.study import class_scores, run_study
from mlcompare.study.doctor import check_store, rebuild_views
from mlcompare.study.job_record import job_record
from mlcompare.study.journal import read_journal
from mlcompare.training import EncoderConfig, TrainingConfig, TrainingJob, TrainingResult


@pytest.fixture
def both(tiny, tmp_path, monkeypatch):
    """Two stores of the same study: one with its class scores in the journal, one with them in files."""
    run_study(tiny, store=tmp_path / "few", executor="in-process")
    monkeypatch.setattr(class_scores, "MOST", 2)
    run_study(tiny, store=tmp_path / "many", executor="in-process")
    return tmp_path / "few", tmp_path / "many"


def test_the_tables_are_the_same(both) -> None:
    few, many = (pd.read_parquet(store / "per_class.parquet") for store in both)
    pd.testing.assert_frame_equal(few, many)
    assert len(few)
    named = [record for record in read_journal(both[1] / "journal.jsonl") if "per_class_file" in record]
    assert named
    assert all(record["per_class"] == {} and (both[1] / record["per_class_file"]).is_file() for record in named)
    kept = {record["key"] for record in read_journal(both[0] / "journal.jsonl") if record.get("per_class")}
    assert {record["key"] for record in named} == kept


def test_a_moved_store_is_rebuilt(both, tmp_path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.move(both[1], moved)
    before = pd.read_parquet(moved / "per_class.parquet")
    rebuild_views(moved)
    pd.testing.assert_frame_equal(pd.read_parquet(moved / "per_class.parquet"), before)


@pytest.mark.parametrize("fault", ["missing", "damaged"])
def test_a_repair_does_not_destroy(fault: str, both) -> None:
    many = both[1]
    file = next((many / "artifacts" / "classes").rglob("*.parquet"))
    if fault == "missing":
        file.unlink()
        assert any("fault" in line and file.name in line for line in check_store(many))
    else:
        file.write_bytes(file.read_bytes()[:100])
    before = (many / "per_class.parquet").read_bytes(), (many / "results.parquet").read_bytes()
    with pytest.raises(StoreError, match="bring the file back"):
        rebuild_views(many)
    assert ((many / "per_class.parquet").read_bytes(), (many / "results.parquet").read_bytes()) == before


def test_a_journal_line_does_not_grow_with_the_classes(tmp_path) -> None:
    config = EncoderConfig(), TrainingConfig()
    job = TrainingJob("baseline", None, {}, *config, 0, 0, baseline="pca", split="test", seed=0)
    lengths = []
    for classes in (2_000, 20_000):
        result = TrainingResult(job.key, per_class={"map_at_r": {f"class é {n}": n / classes for n in range(classes)}})
        record = job_record(job, result, tmp_path)
        lengths.append(len(json.dumps(record)))
        assert class_scores.class_scores(record, tmp_path) == result.per_class
    assert abs(lengths[1] - lengths[0]) < 50
