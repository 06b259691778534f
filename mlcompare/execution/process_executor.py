"""Worker processes, forked from a server that has torch loaded."""

from __future__ import annotations

import multiprocessing.process
import pickle
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import cycle, islice
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from mlcompare.execution.bundles import ATTEMPTS, Bundle, Finished, failed_bundle, tried_again
from mlcompare.execution.data_file import DataFile, lay_out
from mlcompare.execution.plugins import pack
from mlcompare.execution.starting import (
    PRELOAD,
    exit_reason,
    main_hidden,
    pinned_environment,
    signals_wait,
    start_server,
)
from mlcompare.execution.worker import work
from mlcompare.training import TrainingData, TrainingJob

__all__ = ["PRELOAD", "ProcessExecutor"]


@dataclass
class _Worker:
    process: multiprocessing.process.BaseProcess
    pipe: Connection
    devices: tuple[str, ...]
    bundle: Bundle = ()
    attempt: int = 0
    retried: str | None = None  # why the attempt before ended
    started: float = 0.0

    def take(self, bundle: Bundle, attempt: int, retried: str | None) -> None:
        self.attempt, self.retried, self.started = attempt, retried, time.monotonic()
        self.bundle = bundle if not self.devices else tuple(_placed(job, self.devices) for job in bundle)
        self.pipe.send(self.bundle)

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _placed(job: TrainingJob, devices: tuple[str, ...]) -> TrainingJob:
    return replace(job, device=devices[0], rank_devices=devices if job.training.ranks > 1 else ())


class ProcessExecutor:
    """Processes that take one bundle after the other, forked from a server that has torch loaded.

    A worker that dies is replaced and its bundle tried again, twice; then its jobs fail with the reason. A worker whose
    coordinator dies ends itself. The data travel as a memory-mapped file in ``folder``.

    Args:
        workers: how many at a time.
        devices: what each of them trains on (one for each rank of a training), spread evenly; where jobs say by
            default. What comes back says where it was.
        folder: where the data are laid out for the workers.
        threads: of each worker.
        timeout: seconds for each training of a bundle, after which its worker counts as hung; ``None`` never.
    """

    name = "processes"

    def __init__(
        self, data: TrainingData, *, workers: int, folder: Path, devices: Sequence[tuple[str, ...]] = (),
        threads: int = 1, timeout: float | None = None,
    ) -> None:  # fmt: skip
        self.workers, self._timeout = workers, timeout
        self._places = list(islice(cycle(devices or [()]), workers))  # each worker's devices
        self._data, self._folder = data, folder
        self._data_file: DataFile | None = None  # laid out when the first bundle comes
        self._running: dict[Connection, _Worker] = {}
        self._idle: list[_Worker] = []
        self._context = start_server(threads)

    @property
    def active(self) -> int:
        return len(self._running)

    def submit(self, bundle: Bundle) -> None:
        self._hand_in(bundle, attempt=1)

    def _hand_in(self, bundle: Bundle, attempt: int, retried: str | None = None) -> None:
        while self._idle:
            worker = self._idle.pop()
            try:
                worker.take(bundle, attempt, retried)
                self._running[worker.pipe] = worker
                return
            except OSError:  # it died while it had nothing to do
                worker.stop()
        worker = self._start(bundle[0].threads)
        self._running[worker.pipe] = worker
        with suppress(OSError):  # dead before it got its work: to be received like any other death
            worker.take(bundle, attempt, retried)

    def _start(self, threads: int) -> _Worker:
        if self._data_file is None:
            self._data_file = lay_out(self._data, self._folder)
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=work, args=(theirs, self._data_file, pack()), daemon=True)
        with signals_wait(), pinned_environment(threads), main_hidden():
            process.start()
        theirs.close()
        return _Worker(process, ours, self._place())

    def _place(self) -> tuple[str, ...]:
        """Return the devices of the next worker: the first that have fewer than their share of them."""
        taken = Counter(worker.devices for worker in (*self._running.values(), *self._idle))
        for devices in self._places:
            taken[devices] -= 1
            if taken[devices] < 0:
                return devices
        return self._places[0]

    def wait(self) -> list[Finished]:
        finished: list[Finished] = []
        while not finished:
            ready: list[Any] = wait(list(self._running), timeout=1.0)
            for pipe in ready:
                finished += self._receive(self._running.pop(pipe))
            finished += self._stop_hung()
        return finished

    def _receive(self, worker: _Worker) -> list[Finished]:
        try:
            results = worker.pipe.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            worker.process.join()
            return self._again(worker, f"the worker died ({exit_reason(worker.process.exitcode)})")
        self._idle.append(worker)
        return list(zip(worker.bundle, tried_again(results, worker.retried)))

    def _again(self, worker: _Worker, reason: str) -> list[Finished]:
        worker.pipe.close()
        if worker.attempt < ATTEMPTS:
            self._hand_in(worker.bundle, worker.attempt + 1, reason)
            return []
        return failed_bundle(worker.bundle, f"{reason}, {worker.attempt} times")

    def _stop_hung(self) -> list[Finished]:
        if self._timeout is None:
            return []
        now = time.monotonic()
        finished = []
        for pipe, worker in list(self._running.items()):
            seconds = now - worker.started
            if seconds > self._timeout * len(worker.bundle):
                del self._running[pipe]
                worker.stop()
                reason = f"timed out: the worker was stopped after {seconds:.0f} s"
                finished += failed_bundle(worker.bundle, reason, seconds)
        return finished

    def close(self) -> None:
        workers = [*self._running.values(), *self._idle]
        for worker in workers:
            worker.process.kill()
        for worker in workers:
            worker.stop()
        self._running.clear()
        self._idle.clear()
