"""What is handed to an executor at a time: a bundle of jobs, how it is run, and what becomes of one that can't be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlcompare.execution.less_memory import with_less_memory
from mlcompare.execution.ranks import LOST, train_in_ranks
from mlcompare.execution.thread_limits import native_threads
from mlcompare.training import TrainingData, TrainingJob, TrainingResult, run_baseline, train
from mlcompare.training.population import train_population

__all__ = [
    "ATTEMPTS",
    "Bundle",
    "Finished",
    "broken_context",
    "failed_bundle",
    "lost_rank",
    "run_bundle",
    "tried_again",
    "versions",
]

ATTEMPTS = 3  # how often a bundle whose worker died is tried
BROKEN_CONTEXT = ("AcceleratorError: CUDA error", "RuntimeError: CUDA error", "RuntimeError: cuDNN error")

Bundle = tuple[TrainingJob, ...]  # one job, a population that trains as one program, or a baseline's folds
Finished = tuple[TrainingJob, TrainingResult]


def versions() -> dict[str, str]:
    """Return the versions of the packages that decide a training's numbers."""
    import torch

    from mlcompare import __version__

    return {"mlcompare": __version__, "torch": torch.__version__, "numpy": np.__version__}


def run_bundle(bundle: Bundle, data: TrainingData) -> list[TrainingResult]:
    """Run baselines, a training, or a population, with the threads of every library pinned: they change results."""
    with native_threads(bundle[0].threads):
        if bundle[0].kind == "baseline":
            known: dict = {}
            return [run_baseline(job, data, known) for job in bundle]

        def run(jobs: Sequence[TrainingJob]) -> list[TrainingResult]:
            if len(jobs) > 1:
                return train_population(jobs, data)
            alone = jobs[0].training.ranks == 1
            return [train(jobs[0], data) if alone else train_in_ranks(jobs[0], data)]

        return with_less_memory(bundle, run)


def broken_context(results: list[TrainingResult]) -> bool:
    """Whether one of them ended in an error after which every call of the process to its CUDA device fails.

    >>> sticky = "AcceleratorError: CUDA error: an illegal memory access was encountered"
    >>> broken_context([TrainingResult("a", "failed", sticky)])
    True
    """
    return any((result.reason or "").startswith(BROKEN_CONTEXT) for result in results)


def lost_rank(results: list[TrainingResult]) -> bool:
    """Whether it is another process of the same training that has failed one of them, and not the training."""
    return any((result.reason or "").startswith(LOST) for result in results)


def tried_again(results: list[TrainingResult], reason: str | None) -> list[TrainingResult]:
    """Note on results why they came of another attempt, where they did."""
    for result in results:
        if reason is not None:
            result.retried = "; ".join(filter(None, (f"{reason}: tried again", result.retried)))
    return results


def failed_bundle(bundle: Bundle, reason: str, seconds: float = 0.0) -> list[Finished]:
    """Return every job of a bundle as failed for the same reason."""
    return [(job, TrainingResult(job.key, "failed", reason, seconds=seconds, device=job.device)) for job in bundle]
