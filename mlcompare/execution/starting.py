"""How a process of our own is started: without the started program, without its interrupts, its threads pinned."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext

__all__ = [
    "BROKEN",
    "LOST_RANK",
    "PRELOAD",
    "exit_reason",
    "main_hidden",
    "pinned_environment",
    "signals_wait",
    "start_server",
]

BROKEN, LOST_RANK = 70, 71  # exit codes of a worker that can't go on, and is replaced
MEANING = {BROKEN: "its CUDA device is lost", LOST_RANK: "a rank of its training was lost"}
# what workers share; optimisers load dynamo
PRELOAD = ["torch._dynamo", "mlcompare.execution.worker", "mlcompare.losses"]


def start_server(threads: int) -> ForkServerContext:
    """Start the server that processes are forked from, if none runs; it loads torch while this process goes on."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    with pinned_environment(threads), interrupts_ignored():
        forkserver.ensure_running()
    return context


def exit_reason(code: int | None) -> str:
    """Say why a process ended, by its exit code."""
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"{name}, perhaps out of memory" if name == "SIGKILL" else name
    return MEANING.get(code or 0, f"exit code {code}")


@contextmanager
def signals_wait() -> Iterator[None]:
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
def interrupts_ignored() -> Iterator[None]:
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
def main_hidden() -> Iterator[None]:
    """Keep a worker from importing the started program: it costs time, and a script may lack its ``__main__`` guard.

    What that program registered travels by value; see :mod:`mlcompare.execution.plugins`.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


class pinned_environment:
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
