"""The life of a worker process: one bundle of jobs after the other. Workers load neither Optuna nor MLflow."""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import queue
import signal
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection

from mlcompare.execution.bundles import Bundle, broken_context, lost_rank, run_bundle
from mlcompare.execution.data_file import DataFile, open_data
from mlcompare.execution.plugins import unpack
from mlcompare.execution.starting import BROKEN, LOST_RANK
from mlcompare.training import TrainingResult

__all__ = ["end_if_lost", "keep_freed_memory", "work"]

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # glibc's malloc.h


def work(pipe: Connection, data_file: DataFile, plugins: bytes) -> None:
    """Run the bundles that come and send their results; end at once when the coordinator is gone.

    ``plugins`` is what the coordinator's process registered itself.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the coordinator's to handle
    pickled: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(pipe, pickled), daemon=True).start()
    keep_freed_memory()
    unpack(plugins)
    data, before = open_data(data_file), None
    gc.freeze()  # what torch has loaded stays: going through it takes the collector .2 s each time
    while True:
        bundle: Bundle = pickle.loads(pickled.get())  # our own parent's bytes
        likeness = (bundle[0].kind, bundle[0].loss, bundle[0].baseline, len(bundle))
        if likeness != before:
            release_freed_memory()
        results = run_bundle(bundle, data)
        end_if_lost(results)
        pipe.send(results)
        before = likeness


def _receive(pipe: Connection, pickled: queue.SimpleQueue[bytes]) -> None:
    try:
        while True:
            pickled.put(pipe.recv_bytes())
    except (EOFError, OSError):
        os._exit(1)


def end_if_lost(results: list[TrainingResult]) -> None:
    """End this process where it has lost its device, or a rank of its training: another one tries again."""
    if broken_context(results):
        os._exit(BROKEN)  # nothing runs on this device from here
    if lost_rank(results):
        print(f"note: {results[0].key}: {results[0].reason}; it is tried again", file=sys.stderr, flush=True)
        os._exit(LOST_RANK)


def keep_freed_memory() -> None:
    """Have the C library keep up to 2 GiB of what a step frees, for the next step, where it can be told so (glibc).

    By default every tensor above a size is fresh pages from the system, each cleared and mapped again: up to a third
    of a small training's time. For processes that only train: they end soon and return everything.
    """
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in ((M_MMAP_THRESHOLD, 1 << 25), (M_TRIM_THRESHOLD, (1 << 31) - 1), (M_TOP_PAD, 1 << 26)):
            mallopt(option, value)


def release_freed_memory() -> None:
    """Give back what :func:`keep_freed_memory` kept, so that the peak of another sort of training is its own."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
