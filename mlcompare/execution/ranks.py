"""The ranks of one training: processes started beside this one, which is the first, and ended with it."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

import mlcompare
from mlcompare.errors import InvalidValueError
from mlcompare.execution.data_file import DataFile, lay_out
from mlcompare.execution.plugins import pack
from mlcompare.execution.starting import LOST_RANK, exit_reason
from mlcompare.training import TrainingData, TrainingJob, TrainingResult, train
from mlcompare.training.ranks import LostRankError, Ranks
from mlcompare.training.record import failures_recorded

__all__ = ["FAILED", "LOST", "NO_ANSWER", "PATIENCE", "READY", "Assigned", "met", "train_in_ranks"]

LOST = "a rank of the training was lost"  # how the reason begins: it is tried again, as for a lost worker
NO_ANSWER = f"{LostRankError.__name__}: "  # how the reason begins of a rank that waits for one that is lost
READY = b"ready\n"
FAILED = 3  # exit code of a rank that says on its output why it can't go on
PATIENCE = 10.0  # seconds that a rank has to end, once another has
LOOK = 1.0  # seconds between looks at the other ranks
HANGS = 30.0  # seconds after which a rank that waits for a lost one, as NCCL lets it, is ended


@dataclass(frozen=True)
class Assigned:
    """What a rank is started with: which one it is, where all meet, what it trains on and what is registered."""

    rank: int
    size: int
    job: TrainingJob
    meeting: str
    data_file: DataFile
    plugins: bytes
    path: tuple[str, ...]  # where plug-ins find what they import


def train_in_ranks(job: TrainingJob, data: TrainingData) -> TrainingResult:
    """Train a job in ``training.ranks`` processes of this machine, this one among them; only this one has a result.

    Where a rank is lost, the result's reason begins with :data:`LOST`; where one fails, it has that rank's reason.
    """
    size = job.training.ranks
    devices = job.rank_devices or tuple(_device(job.device, rank) for rank in range(size))
    result, others, reasons = TrainingResult(job.key, device=devices[0]), [], []
    with tempfile.TemporaryDirectory() as folder:
        given = f"file://{folder}/meeting", lay_out(data, Path(folder)), pack(), tuple(sys.path)
        try:
            others += [_Other(Assigned(r, size, replace(job, device=devices[r]), *given)) for r in range(1, size)]
            with failures_recorded([result]):
                for other in others:
                    other.wait_until_ready()
                hangs = devices[0].startswith("cuda")
                with _watched(others) if hangs else nullcontext(), met(0, size, given[0], devices[0]):
                    result = train(replace(job, device=devices[0]), data, ranks=Ranks(0, size))
        finally:
            reasons += [other.end() for other in others]
    if (result.reason or "").startswith(NO_ANSWER):
        first = next((reason for reason in reasons if reason and not reason.startswith(NO_ANSWER)), None)
        result.reason = first or f"{LOST} ({result.reason})"
    return result


def _device(first: str, rank: int) -> str:
    return f"cuda:{rank}" if first.startswith("cuda") else first


@contextmanager
def met(rank: int, size: int, meeting: str, device: str) -> Iterator[None]:
    """Have this process be one of several that can exchange tensors.

    Raises:
        InvalidValueError: it already is one, of others.
    """
    if dist.is_initialized():
        cure = "run it with --executor processes"
        raise InvalidValueError("ranks need a process without a process group", value="one", cure=cure)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")  # they never leave it
    on_cuda = device.startswith("cuda")
    if on_cuda:
        torch.cuda.set_device(device)
    backend = "nccl" if on_cuda else "gloo"
    dist.init_process_group(
        backend, init_method=meeting, rank=rank, world_size=size, timeout=timedelta(hours=12)
    )  # the first rank may evaluate for long
    try:
        yield
    finally:
        with suppress(RuntimeError):
            dist.destroy_process_group()


class _Other:
    """A rank in a process of its own. It ends when this one does, as its input ends then."""

    def __init__(self, assigned: Assigned) -> None:
        self.rank, self._said = assigned.rank, b""
        threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        path = (str(Path(mlcompare.__file__).parents[1]), os.environ.get("PYTHONPATH"))
        environment = {
            **os.environ, **dict.fromkeys(threads, str(assigned.job.threads)),
            "PYTHONPATH": os.pathsep.join(filter(None, path)), "PYTHONSAFEPATH": "1",
        }  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlcompare.execution.rank_process"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
        )  # fmt: skip
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended: that is found when it is waited for
            self.process.stdin.write(pickle.dumps(assigned))
            self.process.stdin.flush()

    def wait_until_ready(self) -> None:
        """Return when it has loaded everything.

        Raises:
            LostRankError: it has ended instead.
        """
        assert self.process.stdout is not None
        self._said = self.process.stdout.readline()
        if self._said != READY:
            raise LostRankError(f"rank {self.rank} has ended before all had met")

    def end(self) -> str | None:
        """End it, and return why it had ended before, if not well."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        code = None
        with suppress(subprocess.TimeoutExpired):
            code = self.process.wait(PATIENCE)
        self.process.kill()
        said = self._said.removeprefix(READY) + self.process.stdout.read()
        self.process.wait()
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        if code in (None, 0):
            return None
        if code == FAILED and said:
            return str(json.loads(said))
        return f"{LOST} (rank {self.rank}: {exit_reason(code)})"


@contextmanager
def _watched(others: Sequence[_Other]) -> Iterator[None]:
    """End this process where a rank is lost and it does not notice: gloo tells it, with NCCL it waits for ever."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(LOOK):
            lost = [other for other in others if other.process.poll() not in (None, 0)]
            if lost and not done.wait(HANGS):
                why = exit_reason(lost[0].process.returncode)
                print(f"note: {LOST} (rank {lost[0].rank}: {why}); it is tried again", file=sys.stderr, flush=True)
                os._exit(LOST_RANK)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
