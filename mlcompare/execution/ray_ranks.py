"""One training in several processes that Ray Train starts, on one machine of a cluster or on several."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from mlcompare.errors import StoreError
from mlcompare.execution.bundles import versions
from mlcompare.execution.plugins import unpack
from mlcompare.execution.ranks import LOST, NO_ANSWER, PATIENCE
from mlcompare.execution.thread_limits import native_threads
from mlcompare.training import TrainingData, TrainingJob, TrainingResult, train
from mlcompare.training.ranks import Ranks
from mlcompare.training.record import fail, failures_recorded

__all__ = ["check_versions", "train_with_ray_train"]

WAITS = timedelta(hours=12)  # the first rank may evaluate for long


def check_versions(expected: dict[str, str]) -> None:
    """Check that this machine has the packages of the coordinator that decide numbers.

    Raises:
        StoreError: it has others.
    """
    found = versions()
    if found != expected:
        cure = "install the same versions on every machine"
        raise StoreError("a cluster trains with one set of packages", value=f"{found}, not {expected}", cure=cure)


def train_with_ray_train(job: TrainingJob, data: Any, plugins: bytes, gpus: float) -> TrainingResult:
    """Train a job in ``training.ranks`` workers of Ray Train, and return what the first rank has.

    Where a rank is lost, the result's reason begins with :data:`~mlcompare.execution.ranks.LOST`; where one fails, it
    has that rank's reason.

    Args:
        data: a reference to the :class:`TrainingData` in Ray's object store.
        plugins: what the coordinator's process registered itself.
        gpus: GPUs of each rank; with none they meet over gloo.
    """
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    said: Any = ray.remote(num_cpus=0)(_Said).remote()
    needs = {"CPU": job.threads, **({"GPU": gpus} if gpus else {})}
    if job.folder is not None:
        Path(job.folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=job.folder) as folder:  # every machine must have it: Ray Train looks
        trainer = TorchTrainer(
            _one_rank,
            train_loop_config={"job": job, "data": data, "plugins": plugins, "versions": versions(), "said": said},
            scaling_config=ScalingConfig(
                num_workers=job.training.ranks, use_gpu=gpus > 0, resources_per_worker=needs
            ),
            torch_config=TorchConfig(backend="nccl" if gpus else "gloo", timeout_s=int(WAITS.total_seconds())),
            run_config=RunConfig(storage_path=folder),
        )  # fmt: skip
        try:
            trainer.fit()
            why = "it gave no result"
        except Exception as error:  # Ray Train wraps whatever a worker raised or how it died
            why = f"{type(error).__name__}: {error}".splitlines()[0]
    results: dict[int, TrainingResult] = ray.get(said.all.remote())
    return _result(job, results, why)


def _result(job: TrainingJob, results: dict[int, TrainingResult], why: str) -> TrainingResult:
    """Return the first rank's result, or the reason why there is none."""
    own = results.get(0)
    if own is not None and not (own.reason or "").startswith(NO_ANSWER):
        return own
    reasons = [other.reason for rank, other in sorted(results.items()) if other.reason]
    lost = TrainingResult(job.key, device=job.device) if own is None else own
    fail(lost, next((reason for reason in reasons if not reason.startswith(NO_ANSWER)), f"{LOST} ({why})"))
    return lost


class _Said:
    """What the ranks of a training say at their end: an actor."""

    def __init__(self) -> None:
        self._results: dict[int, TrainingResult] = {}

    def add(self, rank: int, result: TrainingResult) -> None:
        self._results[rank] = result

    def all(self) -> dict[int, TrainingResult]:
        return self._results


def _one_rank(config: dict[str, Any]) -> None:
    """Train one rank's share: what a worker of Ray Train runs, its process group being there."""
    import ray
    from ray.train import get_context
    from ray.train.torch import get_device

    ranks = Ranks(get_context().get_world_rank(), get_context().get_world_size())
    job: TrainingJob = replace(config["job"], device=str(get_device()))
    result = TrainingResult(job.key, device=job.device)
    with failures_recorded([result]):
        check_versions(config["versions"])
        unpack(config["plugins"])
        data: TrainingData = ray.get(config["data"])
        with native_threads(job.threads):
            result = train(job, data, ranks=ranks)
    if ranks.first or result.reason:
        ray.get(config["said"].add.remote(ranks.rank, result))
    if result.reason:
        time.sleep(0 if ranks.first else PATIENCE)  # the first may have failed as well, and says more
        raise RuntimeError(result.reason)  # Ray Train ends the others, which wait for this one
