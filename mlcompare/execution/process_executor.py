"""Worker processes, forked from a server that has torch loaded."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import types
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from mlcompare.execution.bundles import ATTEMPTS, Bundle, Finished, failed_bundle
from mlcompare.execution.data_file import DataFile, lay_out
from mlcompare.execution.plugins import pack
from mlcompare.execution.worker import work
from mlcompare.training import TrainingData

__all__ = ["PRELOAD", "ProcessExecutor"]

# what workers share; optimisers load dynamo
PRELOAD = ["torch._dynamo", "mlcompare.execution.worker", "mlcompare.losses"]


@dataclass
class _Worker:
    process: multiprocessing.process.BaseProcess
    pipe: Connection
    bundle: Bundle = ()
    attempt: int = 0
    started: float = 0.0

    def take(self, bundle: Bundle, attempt: int) -> None:
        self.bundle, self.attempt, self.started = bundle, attempt, time.monotonic()
        self.pipe.send(bundle)

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


class ProcessExecutor:
    """Processes that take one bundle after the other, forked from a server that has torch loaded.

    A worker that dies is replaced and its bundle tried again, twice; then its jobs fail with the reason. A worker whose
    coordinator dies ends itself. The data travel as a memory-mapped file in ``folder``.

    Args:
        workers: how many at a time.
        folder: where the data are laid out for the workers.
        threads: of each worker.
        timeout: seconds for each training of a bundle, after which its worker counts as hung; ``None`` never.
    """

    name = "processes"

    def __init__(
        self, data: TrainingData, *, workers: int, folder: Path, threads: int = 1, timeout: float | None = None
    ) -> None:
        self.workers, self._timeout = workers, timeout
        self._data, self._folder = data, folder
        self._data_file: DataFile | None = None  # laid out when the first bundle comes
        self._running: dict[Connection, _Worker] = {}
        self._idle: list[_Worker] = []
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOAD)
        with _pinned_environment(threads), _interrupts_ignored():
            forkserver.ensure_running()  # it loads torch while this process goes on

    @property
    def active(self) -> int:
        return len(self._running)

    def submit(self, bundle: Bundle) -> None:
        self._hand_in(bundle, attempt=1)

    def _hand_in(self, bundle: Bundle, attempt: int) -> None:
        while self._idle:
            worker = self._idle.pop()
            try:
                worker.take(bundle, attempt)
                self._running[worker.pipe] = worker
                return
            except OSError:  # it died while it had nothing to do
                worker.stop()
        worker = self._start(bundle[0].threads)
        self._running[worker.pipe] = worker
        with suppress(OSError):  # dead before it got its work: to be received like any other death
            worker.take(bundle, attempt)

    def _start(self, threads: int) -> _Worker:
        if self._data_file is None:
            self._data_file = lay_out(self._data, self._folder)
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=work, args=(theirs, self._data_file, pack()), daemon=True)
        with _signals_wait(), _pinned_environment(threads), _main_hidden():
            process.start()
        theirs.close()
        return _Worker(process, ours)

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
            return self._again(worker, f"the worker died ({_exit_reason(worker.process.exitcode)})")
        self._idle.append(worker)
        return list(zip(worker.bundle, results))

    def _again(self, worker: _Worker, reason: str) -> list[Finished]:
        worker.pipe.close()
        if worker.attempt < ATTEMPTS:
            self._hand_in(worker.bundle, worker.attempt + 1)
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


def _exit_reason(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"{name}, perhaps out of memory" if name == "SIGKILL" else name
    return f"exit code {code}"


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Hold Ctrl-C and a polite kill back: half a start would leave a worker without its work, and complaining.

    The handlers are exchanged, as a mask would be the main thread's alone: any other thread could take the signal.
    """
    if threading.current_thread() is not threading.main_thread():  # handlers run in the main thread only
        yield
        return
    caught: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in before.items() if handler is not None}  # None: not Python's
    for number in before:
        signal.signal(number, lambda number, _frame: caught.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for signalled in caught:
            signal.raise_signal(signalled)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Start a process that ignores Ctrl-C from the first: the terminal sends it to every process."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may say so
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _main_hidden() -> Iterator[None]:
    """Keep a worker from importing the started program: it costs time, and a script may lack its ``__main__`` guard.

    What that program registered travels by value; see :mod:`mlcompare.execution.plugins`.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


class _pinned_environment:
    """Threads are counted when the fork server starts: pin them in its environment."""

    def __init__(self, threads: int) -> None:
        self._wanted = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))

    def __enter__(self) -> None:
        self._before = {name: os.environ.get(name) for name in self._wanted}
        os.environ.update(self._wanted)

    def __exit__(self, *_exc: object) -> None:
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
