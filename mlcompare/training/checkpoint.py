"""A long training's state on the disk: killed at any moment, it goes on from there and ends with the same numbers."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar, cast

import torch

from mlcompare.files import make_folder, whole_file
from mlcompare.training.config import TrainingConfig
from mlcompare.training.job import TrainingData, TrainingJob

__all__ = ["Checkpoint", "State", "discard", "make_room", "sweep"]

State = dict[str, Any]  # tensors, numbers, text, and lists and dicts of them: what `torch.load` reads without code

ENDING = ".checkpoint"
DIGEST = 32  # bytes of SHA-256 at the end of a file
CHUNK = 1 << 22
_said: set[str] = set()  # what this process has told a person already


class Restorable(Protocol):
    """A training, or a population of them, that can go on from a state."""

    def restore(self, saved: State) -> None: ...


T = TypeVar("T", bound=Restorable)


class Checkpoint:
    """Where a training (or a population) keeps its state: one file, replaced whole every ``checkpoint_minutes``.

    A file that is damaged, or of another training, version or data, counts as none. Nothing that goes wrong here
    ends the training: it is said once on stderr, and the training goes on without, or begins anew.

    Args:
        jobs: those that train together. They have no checkpoint where their ``folder`` is None.
        data: what they train on.
    """

    def __init__(self, jobs: Sequence[TrainingJob], data: TrainingData) -> None:
        self._path = _path(jobs)
        self._seconds = 60 * jobs[0].training.checkpoint_minutes
        self._identity = _identity(jobs, data) if self._path is not None else ""
        self._name = jobs[0].key if len(jobs) == 1 else f"{jobs[0].key} and {len(jobs) - 1} more"
        self._last = time.monotonic()

    def load(self) -> State | None:
        """Return the state that was saved last; None where there is none that fits."""
        if self._path is None:
            return None
        try:
            with self._path.open("rb") as file:
                _verify(file)
                state: State = torch.load(file, map_location="cpu", weights_only=True)
            return state if state["identity"] == self._identity else None
        except FileNotFoundError:
            return None
        except Exception as error:  # torch, pickle and zipfile each have errors of their own
            self.broken(error)
            return None

    def resumed(self, begin: Callable[[], T]) -> T:
        """Return what ``begin`` makes, restored to the state that was saved last where there is one."""
        training, saved = begin(), self.load()
        if saved is not None:
            try:
                training.restore(saved)
            except Exception as error:  # it is half restored: begin anew
                self.broken(error)
                training = begin()
        return training

    def broken(self, error: Exception) -> None:
        """Say that what was loaded can't be gone on from."""
        _say(f"the checkpoint of {self._name} can't be read ({_short(error)}): it begins anew")

    def due(self) -> bool:
        """Whether the last state is old enough for another."""
        return self._path is not None and self._seconds > 0 and time.monotonic() - self._last >= self._seconds

    def save(self, state: State) -> None:
        """Put a state in the place of the last one, whole and on the disk, or leave that as it is."""
        assert self._path is not None
        hashed = None
        try:
            self._path.parent.mkdir(exist_ok=True)
            with whole_file(self._path) as file:
                hashed = _Hashed(file)
                torch.save({**state, "identity": self._identity}, cast(IO[bytes], hashed))
                file.write(hashed.digest.digest())
        except Exception as error:
            why = (hashed and hashed.error) or error  # torch has an error of its own for a file that can't be written
            _say(f"no checkpoint of {self._name} can be written ({_short(why)}): its training goes on without")
        self._last = time.monotonic()


def discard(jobs: Sequence[TrainingJob]) -> None:
    """Delete the checkpoint of jobs that have trained together."""
    path = _path(jobs)
    if path is not None:
        _remove(path)


def make_room(folder: Path | None) -> None:
    """Make the folder of a study's checkpoints, without what a kill has left half-written in it."""
    if folder is None:
        return
    try:
        make_folder(folder)
    except OSError as error:
        _say(f"no checkpoints can be kept ({_short(error)}): trainings go on without")
    for path in folder.glob(f".*{ENDING}.*.tmp"):
        _remove(path)


def sweep(folder: Path | None) -> None:
    """Delete what is left in the folder of a study that is done; and the folder, where it is empty then."""
    if folder is None:
        return
    for path in (*folder.glob(f"*{ENDING}"), *folder.glob(f".*{ENDING}.*.tmp")):
        _remove(path)
    with suppress(OSError):  # a trainer's own checkpoints are in it, or the data for workers beside it
        folder.rmdir()
        folder.parent.rmdir()


class _Hashed:
    """A file that torch writes to, and the hash of what it wrote."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest = file, hashlib.sha256()
        self.error: OSError | None = None  # what the disk said first

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = self.error or error
            raise

    def flush(self) -> None:
        try:
            self._file.flush()
        except OSError as error:
            self.error = self.error or error
            raise


def _verify(file: IO[bytes]) -> None:
    """Read a file against the hash at its end, and go back to its beginning."""
    size = file.seek(0, 2) - DIGEST
    file.seek(0)
    digest, left = hashlib.sha256(), max(size, 0)
    while left:
        chunk = file.read(min(CHUNK, left))
        digest.update(chunk)
        left -= len(chunk)
    if file.read() != digest.digest():
        raise ValueError("it is damaged")
    file.seek(0)


def _path(jobs: Sequence[TrainingJob]) -> Path | None:
    if jobs[0].folder is None or jobs[0].trainer is not None or jobs[0].kind == "baseline":
        return None
    keys = "\n".join(job.key for job in jobs)
    return Path(jobs[0].folder) / f"{hashlib.sha256(keys.encode()).hexdigest()[:32]}{ENDING}"


def _identity(jobs: Sequence[TrainingJob], data: TrainingData) -> str:
    """Return the hash of what decides the numbers."""
    from mlcompare import __version__

    usual = TrainingConfig().checkpoint_minutes
    kind = torch.device(jobs[0].device).type  # another device of the kind does
    here: dict[str, Any] = {"folder": None, "device": kind, "rank_devices": (), "hyperparameters": {}}
    plain = [replace(job, training=job.training.replaced(checkpoint_minutes=usual), **here) for job in jobs]
    values = json.dumps(
        [dict(job.hyperparameters) for job in jobs], sort_keys=True, default=repr
    )  # as a journal has it
    parts = (__version__, torch.__version__, data.dataset.fingerprint, data.splits.hash, plain, values)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        _say(f"{path} is no longer needed and can't be deleted ({_short(error)})")


def _say(text: str) -> None:
    if text not in _said:
        _said.add(text)
        print(f"note: {text}", file=sys.stderr)


def _short(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {error}".splitlines()[0]
