"""The life of a rank that is not the first: ``python -m mlcompare.execution.rank_process``, fed by the first rank."""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
import threading
from typing import IO

from mlcompare.execution.data_file import open_data
from mlcompare.execution.plugins import unpack
from mlcompare.execution.ranks import FAILED, READY, Assigned, met
from mlcompare.execution.thread_limits import native_threads
from mlcompare.execution.worker import keep_freed_memory
from mlcompare.training import TrainingResult, train
from mlcompare.training.ranks import Ranks
from mlcompare.training.record import failures_recorded


def main() -> int:
    """Train one's share, and return the exit code; why it failed is written to the output, as JSON."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the coordinator's to handle
    told = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what anything else prints is no answer
    assigned: Assigned = pickle.load(sys.stdin.buffer)  # our own first rank's bytes
    threading.Thread(target=_end_with_the_first, daemon=True).start()
    reason = _trained(assigned, told)
    if reason is None:
        return 0
    told.write(json.dumps(reason).encode())
    return FAILED


def _trained(assigned: Assigned, told: IO[bytes]) -> str | None:
    """Train, and return why it failed."""
    job = assigned.job
    result = TrainingResult(job.key)
    with failures_recorded([result]):
        keep_freed_memory()
        sys.path += [folder for folder in assigned.path if folder not in sys.path]
        unpack(assigned.plugins)
        data = open_data(assigned.data_file)
        told.write(READY)
        with native_threads(job.threads), met(assigned.rank, assigned.size, assigned.meeting, job.device):
            result = train(job, data, ranks=Ranks(assigned.rank, assigned.size))
    return result.reason


def _end_with_the_first() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    os._exit(main())
