"""The store: one directory, one truth (the journal), everything else a view of it."""

from __future__ import annotations

import datetime
import errno
import fcntl
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlcompare.errors import StoreError
from mlcompare.study.config import with_defaults

__all__ = ["Store", "read_journal", "write_atomically"]

JOURNAL, STUDY, LOCK = "journal.jsonl", "study.json", ".lock"


def write_atomically(path: Path, data: bytes) -> None:
    """Write a whole file or nothing: to a neighbour first, then rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Return the records of a journal; a torn last line (no newline) is left out.

    Raises:
        StoreError: a line in the middle can't be read.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    records = []
    for number, line in enumerate(lines[:-1], start=1):
        try:
            records.append(json.loads(line))
        except ValueError:
            cure = "restore the journal from a copy: it is the only truth"
            raise StoreError("a journal line is JSON", value="garbage", cure=cure, place=f"{path}:{number}") from None
    return records


class Store:
    """An open store, held by one coordinator at a time.

    Args:
        path: the directory; made on opening.

    Raises:
        StoreError: another coordinator holds it, it can't be written, or its journal is damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = self._acquire()
        journal = self.path / JOURNAL
        try:
            self.records = read_journal(journal)
            self._drop_torn_line(journal)
            self._journal = journal.open("ab", buffering=0)
        except BaseException:
            self._lock.close()
            raise

    def _acquire(self):
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / LOCK).open("a+")
        except OSError as error:
            cure = "choose another directory with --store"
            raise StoreError(
                "the store must be writable", value=error.strerror, cure=cure, place=str(self.path)
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip() or "another process"
            lock.close()
            cure = "wait for it, or stop it; the same command resumes"
            raise StoreError(
                "one coordinator at a time", value=f"held by {holder}", cure=cure, place=str(self.path)
            ) from None
        lock.seek(0)
        lock.truncate()
        since = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        lock.write(f"process {os.getpid()} on {platform.node()} since {since}\n")
        lock.flush()
        return lock

    @staticmethod
    def _drop_torn_line(journal: Path) -> None:
        if not journal.exists():
            return
        data = journal.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            with journal.open("r+b") as file:
                file.truncate(whole)

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record to the journal, and return when it is on the disk.

        Raises:
            StoreError: the disk is full or broken; nothing of the record stays in the journal.
        """
        line = json.dumps(record, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
        data = line.encode() + b"\n"
        before = os.fstat(self._journal.fileno()).st_size
        try:
            written = self._journal.write(data)
            if written != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._journal.fileno())
        except OSError as error:
            self._journal.truncate(before)
            cure = "make room; the same command resumes"
            raise StoreError(
                "the journal must be writable", value=error.strerror, cure=cure, place=str(self.path)
            ) from None
        self.records.append(json.loads(line))

    def claim(self, fingerprint: Mapping[str, Any], *, extend: bool = False) -> bool:
        """Bind the store to a study; return whether it already was (so this is a resume).

        A key that study files didn't have yet when the store was made stands at its default.

        Raises:
            StoreError: it belongs to a study that differs; the message names the first differences.
        """
        path = self.path / STUDY
        if not path.exists():
            if any(record["type"] == "job" for record in self.records):
                cure = "bring study.json back, or use another --store"
                raise StoreError("a journal has its study beside it", value="no study.json", cure=cure, place=str(path))
            self._write_study(fingerprint)
            return False
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            cure = "move the store away and start anew"
            raise StoreError("study.json is JSON", value="garbage", cure=cure, place=str(path)) from None
        wanted = json.loads(json.dumps(fingerprint))
        changes = _differences(_completed(known), _completed(wanted))
        if not changes:
            return True
        refused = [change for change in changes if not (extend and _extends(change))]
        if refused:
            shown = "; ".join(f"{key}: {old!r} → {new!r}" for key, old, new in refused[:4])
            more = f" and {len(refused) - 4} more" if len(refused) > 4 else ""
            only = all(_extends(change) for change in changes)
            cure = "add --extend to allow it" if only else "use another --store, or the study as it was"
            if all(key.startswith("versions.") for key, _, _ in refused):
                cure = "install those versions again (numbers differ between versions), or use another --store"
            raise StoreError("a store belongs to one study", value=shown + more, cure=cure, place=str(self.path))
        self._write_study(fingerprint)
        return True

    def _write_study(self, fingerprint: Mapping[str, Any]) -> None:
        write_atomically(self.path / STUDY, json.dumps(fingerprint, indent=1, ensure_ascii=False).encode())

    def artifact(self, *parts: str) -> Path:
        """Return a path under ``artifacts/``, with its folder made."""
        path = self.path.joinpath("artifacts", *parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def close(self) -> None:
        """Give the store back. A closed store can be opened again."""
        self._journal.close()
        self._lock.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


_MISSING = "nothing"


def _completed(fingerprint: Any) -> Any:
    """Return a fingerprint whose study has every key that study files have by now."""
    study = fingerprint.get("study") if isinstance(fingerprint, dict) else None
    return {**fingerprint, "study": with_defaults(study)} if isinstance(study, dict) else fingerprint


def _differences(old: Any, new: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in [*old, *(key for key in new if key not in old)]:
            where = f"{path}.{key}" if path else key
            found += _differences(old.get(key, _MISSING), new.get(key, _MISSING), where)
        return found
    return [] if old == new else [(path, old, new)]


def _extends(change: tuple[str, Any, Any]) -> bool:
    """Whether a change only adds work: more trials or seeds, another loss."""
    key, old, new = change
    if key in ("study.search.trials", "study.final.seeds"):
        return new > old
    return key.startswith(("study.losses.", "spaces.")) and key.count(".") <= 2 and old == _MISSING
