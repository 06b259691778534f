"""The store: one directory, one truth (the journal), everything else a view of it."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock, Timeout

from mlcompare.errors import StoreError
from mlcompare.files import make_folder, write_atomically
from mlcompare.study.config import with_defaults
from mlcompare.study.journal import JOURNAL, Journal
from mlcompare.study.moved_paths import is_respelled
from mlcompare.study.stored_study import STUDY

__all__ = ["EDITS", "STORE_CURE", "STORE_RULE", "Store", "holder_of"]

LOCK, HOLDER = ".lock", ".holder"
STORE_RULE, STORE_CURE = "the store must be writable", "choose another directory with --store"
EDITS = "edits"  # in study.json: what was worded anew or extended, and when
REWORDED = {("study", "name"), ("study", "question"), ("study", "decision_rule")}
METRICS = ("study", "final", "metrics")
Change = tuple[tuple[str, ...], Any, Any]  # where, what was, what is


def holder_of(store: Path) -> str:
    """Return who holds a store now: the process that runs its study; empty where nobody does.

    A store that nobody has held, or whose last holder on this machine has ended, is not touched.
    """
    try:
        who = (store / HOLDER).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
    words = who.split()
    if len(words) > 3 and words[3] == platform.node() and words[1].isdigit() and not _alive(int(words[1])):
        return ""
    try:
        with FileLock(store / LOCK, timeout=0):
            return ""
    except Timeout:
        return who
    except OSError:  # a store that can't be written
        return ""


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


class Store:
    """An open store, held by one coordinator at a time.

    Args:
        path: the directory; made on opening.

    Raises:
        StoreError: another coordinator holds it, it can't be written, or its journal is damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self._lock = self._acquire()
        try:
            self._journal = Journal(self.path / JOURNAL)
        except BaseException:
            self._lock.release()
            raise

    def _acquire(self) -> FileLock:
        holder = self.path / HOLDER
        try:
            make_folder(self.path)
            lock = FileLock(self.path / LOCK, timeout=0)
            lock.acquire()
            since = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
            holder.write_text(f"process {os.getpid()} on {platform.node()} since {since}\n", encoding="utf-8")
        except Timeout:
            who = holder.read_text(encoding="utf-8").strip() if holder.is_file() else "another process"
            cure = "wait for it, or stop it; the same command resumes"
            rule = "one coordinator at a time"
            raise StoreError(rule, value=f"held by {who}", cure=cure, place=str(self.path)) from None
        except OSError as error:
            raise StoreError(STORE_RULE, value=error.strerror, cure=STORE_CURE, place=str(self.path)) from None
        return lock

    @property
    def records(self) -> list[dict[str, Any]]:
        """Everything that was journaled, in its order."""
        return self._journal.records

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record to the journal, and return when it is on the disk; see :meth:`Journal.append`."""
        self._journal.append(record)

    def claim(self, fingerprint: Mapping[str, Any], *, extend: bool = False) -> bool:
        """Bind the store to a study; return whether it already was (so this is a resume).

        A key that study files didn't have yet when the store was made stands at its default. Paths may be written in
        another way, or lead elsewhere, to the same content: the store then notes where it lies now. Name, question and
        decision rule may be worded anew at any time; that is noted, with what was known of the sealed classes by
        then. With ``extend`` there may be more trials, seeds, losses or metrics, and wider ranges.

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
            known = dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError):
            cure = "move the store away and start anew"
            raise StoreError("study.json is JSON", value="garbage", cure=cure, place=str(path)) from None
        wanted = json.loads(json.dumps(fingerprint))
        found = _differences(_completed({k: v for k, v in known.items() if k != EDITS}), _completed(wanted))
        meant = [change for change in found if not is_respelled(change, known, wanted)]
        edits = [*known.get(EDITS, ()), *(self._edit(change) for change in meant if change[0][0] == "study")]
        fingerprint = {**fingerprint, **({EDITS: edits} if edits else {})}
        changes = [change for change in meant if change[0] not in REWORDED]
        if not changes:
            if found:
                self._write_study(fingerprint)
            return True
        refused = [change for change in changes if not (extend and _extends(change))]
        if refused:
            shown = "; ".join(f"{'.'.join(path)}: {old!r} → {new!r}" for path, old, new in refused[:4])
            more = f" and {len(refused) - 4} more" if len(refused) > 4 else ""
            only = all(_extends(change) for change in changes)
            cure = "add --extend to allow it" if only else "use another --store, or the study as it was"
            if all(path[:1] == ("versions",) for path, _, _ in refused):
                cure = "install those versions again (numbers differ between versions), or use another --store"
            raise StoreError("a store belongs to one study", value=shown + more, cure=cure, place=str(self.path))
        self._write_study(fingerprint)
        return True

    def _edit(self, change: Change) -> dict[str, Any]:
        """Note what is worded anew or extended, and how many sealed results were known by then."""
        path, old, new = change
        finals = sum(r["type"] == "job" and r["kind"] == "final" and r["status"] == "ok" for r in self.records)
        when = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        old = None if old == _MISSING else old
        return {"key": ".".join(path[1:]), "old": old, "new": new, "when": when, "sealed_results": finals}

    def _write_study(self, fingerprint: Mapping[str, Any]) -> None:
        write_atomically(self.path / STUDY, json.dumps(fingerprint, indent=1, ensure_ascii=False).encode())

    @property
    def edits(self) -> list[dict[str, Any]]:
        """What was worded anew or extended since the store was made."""
        path = self.path / STUDY
        return list(json.loads(path.read_text(encoding="utf-8")).get(EDITS, ())) if path.is_file() else []

    def first_name(self, name: str) -> str:
        """Return what the study was called when the store was made: its random numbers go by that."""
        return next((str(edit["old"]) for edit in self.edits if edit["key"] == "name"), name)

    def artifact(self, relative: PurePosixPath) -> Path:
        """Return a path under ``artifacts/``, with its folder made."""
        path = self.path / "artifacts" / relative
        make_folder(path.parent)
        return path

    def close(self) -> None:
        """Give the store back. A closed store can be opened again."""
        self._journal.close()
        self._lock.release()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


_MISSING = "nothing"


def _completed(fingerprint: Any) -> Any:
    """Return a fingerprint whose study has every key that study files have by now."""
    study = fingerprint.get("study") if isinstance(fingerprint, dict) else None
    return {**fingerprint, "study": with_defaults(study)} if isinstance(study, dict) else fingerprint


def _differences(old: Any, new: Any, path: tuple[str, ...] = ()) -> list[Change]:
    if isinstance(old, dict) and isinstance(new, dict):
        found: list[Change] = []
        for key in [*old, *(key for key in new if key not in old)]:
            found += _differences(old.get(key, _MISSING), new.get(key, _MISSING), (*path, key))
        return found
    return [] if old == new else [(path, old, new)]


def _extends(change: Change) -> bool:
    """Whether a change only adds work: more trials, seeds, losses or metrics, a range that holds the one before."""
    path, old, new = change
    if path in (("study", "search", "trials"), ("study", "final", "seeds")):
        return bool(new > old)
    if path == METRICS:
        return set(old) <= set(new)
    if _widens(change):
        return True
    added = (path[:2] == ("study", "losses") and len(path) == 3) or (path[:1] == ("spaces",) and len(path) == 2)
    return added and bool(old == _MISSING)


def _widens(change: Change) -> bool:
    """Whether an end of a searched range moves outwards; what was tried lies in the wider range, too."""
    path, old, new = change
    of_range = path[0] == "spaces" or path[:2] == ("study", "losses") or path[:3] == ("study", "search", "space")
    if not of_range or path[-1] not in ("low", "high"):
        return False
    if not all(isinstance(end, int | float) and not isinstance(end, bool) for end in (old, new)):
        return False
    return bool(new < old if path[-1] == "low" else new > old)
