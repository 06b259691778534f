"""Where jobs run: in this process, or in worker processes. Results don't depend on it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from mlcompare.errors import InvalidValueError, StoreError
from mlcompare.execution.bundles import Bundle, Finished, broken_context, lost_rank, run_bundle
from mlcompare.execution.devices import cpu_count, grouped_devices
from mlcompare.execution.process_executor import ProcessExecutor
from mlcompare.training import TrainingData

__all__ = ["EXECUTORS", "Executor", "InProcessExecutor", "create_executor"]

EXECUTORS = ("auto", "population", "processes", "in-process", "ray")


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
        results = run_bundle(bundle, self._data)
        if broken_context(results) or lost_rank(results):
            rule = "a CUDA device must work" if broken_context(results) else "every rank must live"
            reason = next(result.reason for result in results if result.reason)
            cure = "run the same command again: the training is tried again in a new process"
            raise StoreError(rule, value=reason, cure=cure, place=bundle[0].key)
        return list(zip(bundle, results))

    def close(self) -> None:
        self._queue.clear()


def create_executor(
    name: str, data: TrainingData, *, workers: int | None, folder: Path, device: str, devices: Sequence[str] = (),
    threads: int = 1, ranks: int = 1, timeout: float | None = None, ray_address: str | None = None,
    gpus_per_job: float = 0.0,
) -> Executor:  # fmt: skip
    """Return where bundles run: on Ray where that is asked for, in processes where more than one worker is, else here.

    On a CUDA device one worker is a process too: an error that breaks its context costs the worker, not the study.

    Args:
        workers: trainings at a time; by default one on each CUDA device, or as many as the cores have threads for.
        device: what jobs name.
        devices: what they are spread over, where there are several of that kind.
        ranks: processes of each training, on a CUDA device each; on Ray, each with ``gpus_per_job``.

    Raises:
        InvalidValueError: a name or number makes no sense, or the cluster can't give what is asked for.
    """
    if name not in EXECUTORS:
        raise InvalidValueError(f"`--executor` must be one of {', '.join(EXECUTORS)}", value=name)
    if workers is not None and workers < 1:
        raise InvalidValueError("`--workers` must be 1 or more", value=str(workers))
    if name == "ray" and ":" in device:
        cure = "--gpus-per-job says what a job gets"
        raise InvalidValueError("Ray chooses the devices", value=", ".join(devices or [device]), cure=cure)
    if name == "in-process" and len(devices) > ranks:
        cure = "use --executor processes"
        raise InvalidValueError("one process trains on one device", value=", ".join(devices), cure=cure)
    if name == "ray" and ranks > 1 and gpus_per_job not in (0, 1):
        rule, cure = "each rank of a training needs a GPU of its own", "give --gpus-per-job 1"
        raise InvalidValueError(rule, value=f"{gpus_per_job:g}", cure=cure)
    groups = grouped_devices(devices or (device,), 1 if name == "ray" else ranks)
    if workers is not None and workers < len(groups):
        rule = "each of `--devices` needs a worker" if ranks == 1 else f"every {ranks} of `--devices` need a worker"
        raise InvalidValueError(rule, value=f"{workers} for {', '.join(devices)}", cure="name fewer devices")
    if timeout is not None and not timeout > 0:
        raise InvalidValueError("`--timeout` must be above 0 seconds", value=f"{timeout:g}")
    if gpus_per_job < 0 or (gpus_per_job > 1 and gpus_per_job != int(gpus_per_job)):
        rule = "`--gpus-per-job` must be a share from 0 to 1, or a whole number"
        raise InvalidValueError(rule, value=f"{gpus_per_job:g}")
    if name == "ray":
        from mlcompare.execution.ray_executor import RayExecutor

        return RayExecutor(
            data, address=ray_address, workers=workers, threads=threads, gpus_per_job=gpus_per_job, ranks=ranks,
            timeout=timeout,
        )  # fmt: skip
    if ray_address is not None or gpus_per_job:
        raise InvalidValueError("`--ray-address` and `--gpus-per-job` need `--executor ray`", value=name)
    on_cuda = device.startswith("cuda")
    count = workers or (len(groups) if on_cuda else max(cpu_count() // (threads * ranks), 1))
    here = name != "processes" and count == 1 and timeout is None and not on_cuda and ranks == 1
    if name == "in-process" or here:
        return InProcessExecutor(data)
    return ProcessExecutor(data, workers=count, folder=folder, devices=groups, threads=threads, timeout=timeout)
