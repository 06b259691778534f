"""Jobs as Ray tasks, on this machine or on a cluster.

With :mod:`mlcompare.execution.ray_ranks` the only importer of Ray (the extra ``ray``).
"""

from __future__ import annotations

import importlib.util
import os
import time
from dataclasses import dataclass, field
from typing import Any

from mlcompare.errors import InvalidValueError, StoreError
from mlcompare.execution.bundles import ATTEMPTS, Bundle, Finished, failed_bundle, run_bundle, tried_again, versions
from mlcompare.execution.less_memory import with_less_memory
from mlcompare.execution.plugins import pack, unpack
from mlcompare.execution.ray_ranks import check_versions, train_with_ray_train
from mlcompare.execution.worker import end_if_lost, keep_freed_memory
from mlcompare.training import TrainingData, TrainingResult

__all__ = ["RayExecutor"]


@dataclass
class _Task:
    bundle: Bundle
    attempt: int
    retried: str | None = None  # why the attempt before ended
    started: float = field(default_factory=time.monotonic)


class RayExecutor:
    """One Ray task for each bundle; the data are put into the object store once.

    A task whose worker, node or memory goes is tried again, twice; then its jobs fail with the reason. The coordinator
    counts the attempts, so Ray itself retries nothing.

    Args:
        address: a running cluster (``auto``, ``host:port`` or ``ray://…``); a cluster on this machine by default.
        workers: how many tasks at a time; as many as the cluster has room for by default.
        threads: CPU cores of a task, where it has no GPU share.
        gpus_per_job: GPUs of a task; a share such as 0.25 lets four tasks use one GPU.
        ranks: processes of each training, each with those CPU cores or GPUs; Ray Train starts them, on several machines
            where one has no room.
        timeout: seconds after which a task counts as hung; ``None`` never.

    Raises:
        InvalidValueError: Ray is not installed, the cluster can't be reached, or it lacks what a task needs.
    """

    name = "ray"

    def __init__(
        self, data: TrainingData, *, address: str | None = None, workers: int | None = None, threads: int = 1,
        gpus_per_job: float = 0.0, ranks: int = 1, timeout: float | None = None,
    ) -> None:  # fmt: skip
        self._ray = ray = _import_ray()
        self._owned = not ray.is_initialized()
        if self._owned:
            _connect(ray, address, workers, threads * ranks)
        try:
            room = _room(ray, threads, gpus_per_job) // ranks
            self.workers = min(workers or room, room)  # a task that waits for room would seem to hang
            if room < 1:
                wanted = f"{threads} CPU and {gpus_per_job:g} GPU"
                times = "" if ranks == 1 else f", {ranks} times"
                rule = f"a task needs {wanted} on one machine{times}"
                raise InvalidValueError(rule, value=_resources(ray), cure="ask less")
            needs = {"num_gpus": gpus_per_job} if gpus_per_job else {}
            self._run = ray.remote(num_cpus=threads, max_retries=0, **needs)(_run_checked)
            self._run_ranks = ray.remote(num_cpus=0, max_retries=0)(_run_ranks)
            self._gpus = gpus_per_job
            self._data = ray.put(data)
            self._plugins = pack()
        except BaseException:
            self._leave()
            raise
        self._timeout = timeout
        self._running: dict[Any, _Task] = {}

    @property
    def active(self) -> int:
        return len(self._running)

    def submit(self, bundle: Bundle) -> None:
        self._start(bundle, attempt=1)

    def _start(self, bundle: Bundle, attempt: int, retried: str | None = None) -> None:
        if bundle[0].kind != "baseline" and bundle[0].training.ranks > 1:
            # in a list the data stay a reference, which each rank follows
            reference = self._run_ranks.remote(bundle, [self._data], versions(), self._plugins, self._gpus)
        else:
            reference = self._run.remote(bundle, self._data, versions(), self._plugins)
        self._running[reference] = _Task(bundle, attempt, retried)

    def wait(self) -> list[Finished]:
        finished: list[Finished] = []
        while not finished:
            ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=1.0)
            for reference in ready:
                finished += self._receive(reference, self._running.pop(reference))
            finished += self._stop_hung()
        return finished

    def _receive(self, reference: Any, task: _Task) -> list[Finished]:
        errors = self._ray.exceptions
        try:
            return list(zip(task.bundle, tried_again(self._ray.get(reference), task.retried)))
        except errors.RayTaskError as error:
            cause = error.cause
            raise (cause if isinstance(cause, StoreError) else error) from None
        except errors.OutOfMemoryError:
            reason = "out of memory: Ray stopped the task"
        except errors.RayError as error:
            reason = f"the Ray worker died ({type(error).__name__})"
        if task.attempt < ATTEMPTS:
            self._start(task.bundle, task.attempt + 1, reason)
            return []
        return failed_bundle(task.bundle, f"{reason}, {task.attempt} times")

    def _stop_hung(self) -> list[Finished]:
        finished: list[Finished] = []
        for reference, task in list(self._running.items()):
            seconds = time.monotonic() - task.started
            if self._timeout is not None and seconds > self._timeout * len(task.bundle):
                del self._running[reference]
                self._ray.cancel(reference, force=True)
                reason = f"timed out: the task was stopped after {seconds:.0f} s"
                finished += failed_bundle(task.bundle, reason, seconds)
        return finished

    def close(self) -> None:
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._running.clear()
        self._leave()

    def _leave(self) -> None:
        if self._owned and self._ray.is_initialized():
            self._ray.shutdown()


def _run_checked(bundle: Bundle, data: TrainingData, expected: dict[str, str], plugins: bytes) -> list[TrainingResult]:
    """Run a bundle on whatever machine Ray chose, where the packages that decide numbers are the coordinator's."""
    check_versions(expected)
    keep_freed_memory()
    unpack(plugins)
    results = run_bundle(bundle, data)
    end_if_lost(results)  # Ray starts another worker, and the bundle is tried again
    return results


def _run_ranks(
    bundle: Bundle, data: list[Any], expected: dict[str, str], plugins: bytes, gpus: float
) -> list[TrainingResult]:
    """Have Ray Train run a training in ranks; this task waits for it."""
    check_versions(expected)
    results = with_less_memory(bundle, lambda jobs: [train_with_ray_train(jobs[0], data[0], plugins, gpus)])
    end_if_lost(results)
    return results


def _import_ray() -> Any:
    if importlib.util.find_spec("ray") is None:
        cure = "pip install 'mlcompare[ray]'"
        raise InvalidValueError("`--executor ray` needs the package ray", value="not installed", cure=cure)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no telemetry unless a person asks for it
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    return ray


def _connect(ray: Any, address: str | None, workers: int | None, threads: int) -> None:
    local = {"num_cpus": workers * threads} if workers and address is None else {}
    try:
        ray.init(address=address or "local", include_dashboard=False if address is None else None,
                 log_to_driver=False, logging_level="ERROR", **local)  # fmt: skip
    except (ConnectionError, ValueError, RuntimeError) as error:
        cure = "start one with `ray start --head`, or leave out --ray-address for a local one"
        reason = str(error).splitlines()[0]
        raise InvalidValueError("a Ray cluster must answer", value=f"{address}: {reason}", cure=cure) from None


def _room(ray: Any, threads: int, gpus: float) -> int:
    """How many tasks fit at a time: a task never spans machines."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(
        int(min(node.get("CPU", 0) / threads, node.get("GPU", 0) / gpus if gpus else float("inf"))) for node in nodes
    )


def _resources(ray: Any) -> str:
    total = ray.cluster_resources()
    return f"a cluster of {total.get('CPU', 0):g} CPU and {total.get('GPU', 0):g} GPU"
