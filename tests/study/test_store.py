"""The store: one holder, a journal that survives, one study."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mlcompare.errors import StoreError
from mlcompare.study import make_plan, run_study
from mlcompare.study.config import validated
from mlcompare.study.journal import read_journal
from mlcompare.study.store import Store, write_atomically
from mlcompare.training.job import artifact_path

STUDY = {"study": {"search": {"trials": 4, "seed": 0}, "final": {"seeds": 1}, "losses": {"a": None}}, "splits": "x"}


def changed(**search) -> dict:
    study = json.loads(json.dumps(STUDY))
    study["study"]["search"] |= search
    return study


def test_a_second_coordinator_is_told_who_holds_it(tmp_path: Path) -> None:
    with Store(tmp_path), pytest.raises(StoreError, match=r"held by process \d+ on .* since 20"):
        Store(tmp_path)
    Store(tmp_path).close()


def test_records_survive_exactly(tmp_path: Path) -> None:
    records = [{"type": "job", "value": 0.1 + 0.2, "name": "ü", "none": None}, {"type": "ask", "lr": 1e-300}]
    with Store(tmp_path) as store:
        for record in records:
            store.append(record)
    with Store(tmp_path) as store:
        assert store.records == records


def test_a_torn_last_line_is_dropped_and_never_merged(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.append({"type": "a"})
    whole = (tmp_path / "journal.jsonl").read_bytes()
    for cut in range(1, 12):
        (tmp_path / "journal.jsonl").write_bytes(whole + b'{"type":"torn"}'[:cut])
        with Store(tmp_path) as store:
            assert store.records == [{"type": "a"}]
            store.append({"type": "b"})
        assert [r["type"] for r in read_journal(tmp_path / "journal.jsonl")] == ["a", "b"]


def test_a_broken_middle_is_an_error_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes(b'{"type":"a"}\ngarbage\n{"type":"b"}\n')
    with pytest.raises(StoreError, match=r"journal.jsonl:2: a journal line is JSON"):
        Store(tmp_path)
    (tmp_path / "journal.jsonl").unlink()
    Store(tmp_path).close()  # the failed opening gave the lock back


def test_nan_never_reaches_the_journal(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        with pytest.raises(ValueError, match="JSON"):
            store.append({"value": float("nan")})
        assert store.records == []
    assert read_journal(tmp_path / "journal.jsonl") == []


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, monkeypatch) -> None:
    with Store(tmp_path) as store:
        store.append({"type": "a"})
        monkeypatch.setattr("os.fsync", lambda _fd: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(StoreError, match=r"No space left on device; make room; the same command resumes"):
            store.append({"type": "b"})
        monkeypatch.undo()
        store.append({"type": "c"})
    assert [r["type"] for r in read_journal(tmp_path / "journal.jsonl")] == ["a", "c"]


def test_a_store_belongs_to_one_study(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        assert store.claim(STUDY) is False
        assert store.claim(STUDY) is True
        with pytest.raises(StoreError, match=r"study.search.seed: 0 → 1.*another --store"):
            store.claim(changed(seed=1), extend=True)
        with pytest.raises(StoreError, match=r"study.search.trials: 4 → 9; add --extend"):
            store.claim(changed(trials=9))
        assert store.claim(changed(trials=9), extend=True) is True
        with pytest.raises(StoreError, match="trials: 9 → 4"):
            store.claim(changed(trials=4), extend=True)


def test_a_store_from_before_a_key_was_added_resumes(tiny: dict, tmp_path: Path) -> None:
    now = make_plan(validated(tiny, "study")).fingerprint()
    old = json.loads(json.dumps(now))
    del old["study"]["corruption"], old["study"]["search"]["racing"], old["study"]["encoder"]["weights"]
    with Store(tmp_path) as store:
        assert store.claim(old) is False
        assert "racing" not in json.loads((tmp_path / "study.json").read_text())["study"]["search"]
        assert store.claim(now) is True
        now["study"]["search"]["racing"] = True
        with pytest.raises(StoreError, match=r"got study.search.racing: 'early' → True; use another --store"):
            store.claim(now)
        now["study"]["search"] |= {"racing": "early", "later": 1}
        with pytest.raises(StoreError, match=r"got study.search.later: 'nothing' → 1; use another --store"):
            store.claim(now)


@pytest.mark.parametrize("known", ["[]", "{}", '{"study": 3}', '{"study": {"search": null, "encoder": "conv"}}'])
def test_a_study_of_another_shape_differs(known: str, tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(known)
    with Store(tmp_path) as store, pytest.raises(StoreError, match="a store belongs to one study"):
        store.claim(STUDY)


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="must be writable"):
        Store(tmp_path / "file")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "x"
    write_atomically(path, b"old")
    monkeypatch.setattr("os.fsync", lambda _fd: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_journal_without_its_study_is_not_adopted(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.claim({"study": {"steps": 5}})
        store.append({"type": "job", "key": "a"})
    (tmp_path / "study.json").unlink()
    with Store(tmp_path) as store, pytest.raises(StoreError, match=r"no study\.json"):
        store.claim({"study": {"steps": 7}})
    assert not (tmp_path / "study.json").exists()


def test_what_a_journal_line_refers_to_is_on_the_disk_before_it(tiny: dict, tmp_path: Path, monkeypatch) -> None:
    """Each artifact, and each folder down to it, is synced before the line of the training that left it."""
    synced: set[Path] = set()
    checked = []

    def fsync(descriptor: int, really=os.fsync) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.name == "journal.jsonl":
            record = json.loads(path.read_bytes().splitlines()[-1])
            if record.get("kind") == "final" and record["seed"] == 0:
                left = artifact_path(record["loss"], trial=record["trial"], fold=record["fold"], seed=0)
                for ending in (".npz", ".pt"):
                    file = path.parent / "artifacts" / f"{left}{ending}"
                    assert file.is_file()
                    assert file in synced
                    assert synced >= {folder for folder in file.parents if folder.is_relative_to(path.parent)}
                    checked.append(file)
        really(descriptor)
        # a file is written under another name, .NAME.PID.tmp, before it gets its own
        synced.add(path.with_name(path.name[1:].rsplit(".", 2)[0]) if path.suffix == ".tmp" else path)

    monkeypatch.setattr(os, "fsync", fsync)
    run_study(tiny, tmp_path / "new" / "store", executor="in-process")
    assert len(checked) >= 2 * 2 * 2, "two files of each loss and fold"
