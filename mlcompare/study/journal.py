"""The journal: what happened, one line for each record, on the disk before anyone acts on it."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlcompare.errors import StoreError

__all__ = ["JOURNAL", "Journal", "effective", "read_journal"]

JOURNAL = "journal.jsonl"


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
    return effective(records)


def effective(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the records that count: a ``retry`` takes back the failed trainings it names, and what followed from them.

    >>> failed, done = ({"type": "job", "key": k, "loss": "x", "status": s} for k, s in (("a", "failed"), ("b", "ok")))
    >>> [r["key"] for r in effective([failed, done, {"type": "retry", "keys": ["a"]}]) if r["type"] == "job"]
    ['b']
    """
    kept: list[dict[str, Any]] = []
    for record in records:
        if record["type"] == "retry":
            keys = set(record["keys"])
            again = [r for r in kept if r["type"] == "job" and r["key"] in keys]
            searched = {r["loss"] for r in again if r.get("kind") == "trial"}  # their selection may change
            taken = {id(r) for r in again} | {id(r) for r in kept if r["type"] == "opening" and r["loss"] in searched}
            kept = [r for r in kept if id(r) not in taken]
        kept.append(record)
    return kept


class Journal:
    """A journal open for writing; ``records`` is its content.

    A last line that was torn by a power cut is dropped on opening: nothing was done that it speaks of.

    Raises:
        StoreError: a line in the middle can't be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.records = read_journal(path)
        _drop_torn_line(path)
        self._file = path.open("ab", buffering=0)

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record, and return when it is on the disk.

        Raises:
            StoreError: the disk is full or broken; nothing of the record stays in the journal.
        """
        line = json.dumps(record, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
        data = line.encode() + b"\n"
        before = os.fstat(self._file.fileno()).st_size
        try:
            written = self._file.write(data)
            if written != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(before)
            cure = "make room; the same command resumes"
            rule, place = "the journal must be writable", str(self._path.parent)
            raise StoreError(rule, value=error.strerror, cure=cure, place=place) from None
        self.records.append(json.loads(line))
        if record["type"] == "retry":
            self.records = effective(self.records)

    def close(self) -> None:
        """End the writing."""
        self._file.close()


def _drop_torn_line(journal: Path) -> None:
    if not journal.exists():
        return
    data = journal.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        with journal.open("r+b") as file:
            file.truncate(whole)
