"""One call in a process of its own: what it touches (a CUDA device above all) this process never holds."""

from __future__ import annotations

import pickle
import signal
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cloudpickle

from mlcompare.errors import MLCompareError
from mlcompare.execution.data_file import DataFile, lay_out, open_data
from mlcompare.execution.plugins import pack, unpack
from mlcompare.execution.starting import exit_reason, main_hidden, pinned_environment, signals_wait, start_server
from mlcompare.training import TrainingData

__all__ = ["DiedError", "run_apart"]


class DiedError(MLCompareError):
    """The process ended without an answer."""


def run_apart(function: Callable[..., Any], data: TrainingData, *arguments: Any, threads: int = 1) -> Any:
    """Return ``function(data, *arguments)`` as a process of its own computes it, with what is registered here.

    Raises:
        DiedError: it was killed, or ran out of memory.
        Exception: whatever the function raises.
    """
    context = start_server(threads)
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = context.Pipe(duplex=False)
        call = cloudpickle.dumps((function, arguments))
        given = (theirs, lay_out(data, Path(folder)), pack(), call)
        process = context.Process(target=_answer, args=given, daemon=True)
        with signals_wait(), pinned_environment(threads), main_hidden():
            process.start()
        theirs.close()
        try:
            done, value = pickle.loads(ours.recv_bytes())  # our own child's bytes
        except (EOFError, OSError):
            process.join()
            raise DiedError("a process must end well", value=exit_reason(process.exitcode)) from None
        finally:
            process.kill()
            process.join()
            ours.close()
    if not done:
        raise value
    return value


def _answer(pipe: Connection, data_file: DataFile, plugins: bytes, call: bytes) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, and that ends this
    unpack(plugins)
    function, arguments = pickle.loads(call)  # our own parent's bytes
    try:
        answer: tuple[bool, Any] = (True, function(open_data(data_file), *arguments))
    except Exception as error:  # to be raised by whoever asked
        answer = (False, error)
    try:
        packed = cloudpickle.dumps(answer)
    except Exception as error:  # an error that holds what can't be sent
        told = answer[1] if isinstance(answer[1], Exception) else error
        packed = cloudpickle.dumps((False, DiedError("an answer must travel", value=repr(told)[:200])))
    pipe.send_bytes(packed)
