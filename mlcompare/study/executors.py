"""Where jobs run: in this process, or in worker processes. Results don't depend on it."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import types
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Protocol

from mlcompare.encoders import get_encoder_spec
from mlcompare.errors import InvalidValueError
from mlcompare.study.outcome import ATTEMPTS, Finished, failed_bundle
from mlcompare.training import TrainingData
from mlcompare.training.worker import Bundle, DataSource, lay_out, run_bundle, work

__all__ = ["EXECUTORS", "Executor", "InProcessExecutor", "ProcessExecutor", "create_executor"]

PRELOAD = [
    "torch._dynamo",
    "mlcompare.training.worker",
    "mlcompare.losses",
]  # what workers share; optimisers load dynamo


class Executor(Protocol):
    """What a coordinator needs: hand in bundles of jobs while there is room, and wait for some to finish."""

    name: str
    workers: int

    @property
    def active(self) -> int:
        """How many bundles were handed in and have not come back."""

    def submit(self, bundle: Bundle) -> None:
        """Hand in a job, or a population of jobs."""

    def wait(self) -> list[Finished]:
        """Return one or more finished jobs; wait for the first."""

    def close(self) -> None:
        """Stop whatever runs."""


class InProcessExecutor:
    """One bundle at a time, here."""

    name, workers = "in-process", 1

    def __init__(self, data: TrainingData) -> None:
        self._data = data
        self._queue: deque[Bundle] = deque()

    @property
    def active(self) -> int:
        return len(self._queue)

    def submit(self, bundle: Bundle) -> None:
        self._queue.append(bundle)

    def wait(self) -> list[Finished]:
        bundle = self._queue.popleft()
        return list(zip(bundle, run_bundle(bundle, self._data)))

    def close(self) -> None:
        self._queue.clear()


@dataclass
class _Worker:
    process: multiprocessing.process.BaseProcess
    pipe: Connection
    has_main: bool  # the program that was started, with what it registers
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
        self._source: DataSource | None = None  # laid out when the first bundle comes
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
        needs_main = _needs_main(bundle)
        while self._idle:
            worker = self._idle.pop()
            try:
                if worker.has_main or not needs_main:
                    worker.take(bundle, attempt)
                    self._running[worker.pipe] = worker
                    return
            except OSError:  # it died while it had nothing to do
                pass
            worker.stop()
        worker = self._start(bundle[0].threads, needs_main)
        self._running[worker.pipe] = worker
        with suppress(OSError):  # dead before it got its work: to be received like any other death
            worker.take(bundle, attempt)

    def _start(self, threads: int, has_main: bool) -> _Worker:
        if self._source is None:
            self._source = lay_out(self._data, self._folder)
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=work, args=(theirs, self._source), daemon=True)
        with _signals_wait(), _pinned_environment(threads), _main_hidden(unless=has_main):
            process.start()
        theirs.close()
        return _Worker(process, ours, has_main)

    def wait(self) -> list[Finished]:
        finished: list[Finished] = []
        while not finished:
            for pipe in wait(list(self._running), timeout=1.0):
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
        for number in caught:
            signal.raise_signal(number)


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


def _needs_main(bundle: Bundle) -> bool:
    """Whether a worker must import the program that was started: it may have registered the loss or the encoder."""
    job = bundle[0]
    foreign = any(spec.source == "plugin" for spec in (job.loss.specs if job.loss else ()))
    return foreign or not get_encoder_spec(job.encoder.name).factory.__module__.startswith("mlcompare.")


@contextmanager
def _main_hidden(unless: bool) -> Iterator[None]:
    """Keep a worker from importing the started program: it costs time, and a script may lack its ``__main__`` guard."""
    main = sys.modules["__main__"]
    if not unless:
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


EXECUTORS = ("auto", "population", "processes", "in-process", "ray")


def create_executor(
    name: str, data: TrainingData, *, workers: int | None, folder: Path, device: str, threads: int = 1,
    timeout: float | None = None, ray_address: str | None = None, gpus_per_job: float = 0.0,
) -> Executor:  # fmt: skip
    """Return where bundles run: on Ray where that is asked for, in processes where more than one worker is, else here.

    Raises:
        InvalidValueError: a name or number makes no sense, or the cluster can't give what is asked for.
    """
    if name not in EXECUTORS:
        raise InvalidValueError(f"`--executor` must be one of {', '.join(EXECUTORS)}", value=name)
    if workers is not None and workers < 1:
        raise InvalidValueError("`--workers` must be 1 or more", value=str(workers))
    if timeout is not None and not timeout > 0:
        raise InvalidValueError("`--timeout` must be above 0 seconds", value=f"{timeout:g}")
    if gpus_per_job < 0 or (gpus_per_job > 1 and gpus_per_job != int(gpus_per_job)):
        rule = "`--gpus-per-job` must be a share from 0 to 1, or a whole number"
        raise InvalidValueError(rule, value=f"{gpus_per_job:g}")
    if name == "ray":
        from mlcompare.study.ray_executor import RayExecutor

        return RayExecutor(
            data, address=ray_address, workers=workers, threads=threads, gpus_per_job=gpus_per_job, timeout=timeout
        )
    if ray_address is not None or gpus_per_job:
        raise InvalidValueError("`--ray-address` and `--gpus-per-job` need `--executor ray`", value=name)
    count = workers or (1 if device.startswith("cuda") else len(os.sched_getaffinity(0)))
    if name == "in-process" or (name != "processes" and count == 1 and timeout is None):
        return InProcessExecutor(data)
    return ProcessExecutor(data, workers=count, folder=folder, threads=threads, timeout=timeout)
