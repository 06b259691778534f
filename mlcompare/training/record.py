"""What both engines write down of a training: its losses, its scores, its memory, and why it failed."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mlcompare.errors import MLCompareError
from mlcompare.training.health import divergence, embedding_fault, spread
from mlcompare.training.job import OUT_OF_MEMORY, TrainingData, TrainingJob, TrainingResult
from mlcompare.training.prepare import Prepared, Stage
from mlcompare.training.scoring import EmbedRows, class_scores, embed, evaluation_rows, nearest_of_validation, score

__all__ = [
    "WATCH_EVERY", "current_device", "fail", "failures_recorded", "peak_memory", "record_losses",
    "restart_peak_memory", "score_embeddings", "score_encoder", "torch_threads", "watch",
]  # fmt: skip

WATCH_EVERY = 25  # steps between looks at the loss: each look waits for the device


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Pin torch's threads, which change results, and give back what the caller had."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def current_device(device: str) -> AbstractContextManager[Any]:
    """Have ``cuda`` without a number mean this device for a while: streams, graphs, a loss's own tensors."""
    return torch.cuda.device(device) if device.startswith("cuda") else nullcontext()


@contextmanager
def failures_recorded(results: list[TrainingResult]) -> Iterator[None]:
    """Turn what a training may raise into the reason of every result that has none yet."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError):
        reason = OUT_OF_MEMORY
    except MLCompareError as error:
        reason = str(error)
    except Exception as error:  # a plug-in's code may raise anything
        refused = "allocate memory" in str(error)  # PyTorch's own word for it on the CPU
        reason = OUT_OF_MEMORY if refused else f"{type(error).__name__}: {error}".splitlines()[0]
    else:
        return
    for result in results:
        if result.status == "ok":
            fail(result, reason)


def fail(result: TrainingResult, reason: str) -> None:
    """End a result with a reason; no number of it counts."""
    result.status, result.reason = "failed", reason
    result.metrics, result.per_class, result.artifacts = {}, {}, None


def restart_peak_memory(device: str) -> None:
    """Have :func:`peak_memory` count from now on, where the device or the system (Linux) can do so."""
    if device.startswith("cuda"):
        torch.cuda.init()  # nothing is counted before
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: str) -> int:
    """Return bytes: the device's peak where it counts them, else the process's."""
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(device))
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):  # unlike ru_maxrss, it knows nothing of whoever started this process
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def watch(step: int, stage: Stage) -> bool:
    """Whether the losses are looked at after this step."""
    return (step + 1) % WATCH_EVERY == 0 or step + 1 == stage.steps


def record_losses(result: TrainingResult, losses: list[float], first_step: int) -> bool:
    """Add the mean of a stretch of losses to the history; fail the result where one is not finite."""
    result.history.setdefault("step", []).append(first_step + len(losses))
    result.history.setdefault("loss", []).append(float(np.mean(losses)))
    reason = divergence(losses, first_step)
    if reason:
        fail(result, reason)
    return reason is None


def score_encoder(
    job: TrainingJob, data: TrainingData, prepared: Prepared, encoder: nn.Module, result: TrainingResult
) -> None:
    """Embed the job's evaluation samples and fill the result; accuracy is that of the last stage's loss."""
    loss = prepared.stages[-1].loss

    def embed_rows(chosen: np.ndarray) -> Tensor:
        return embed(encoder, prepared.standardize, data.dataset.samples, chosen)

    score_embeddings(job, data, loss, embed_rows, result)
    if job.keep and result.status == "ok":
        result.keep(encoder, loss, prepared.class_counts)
        if job.kind == "final":
            result.artifacts = {**(result.artifacts or {}), **nearest_of_validation(job, data, embed_rows)}


def score_embeddings(
    job: TrainingJob, data: TrainingData, loss: nn.Module, embed_rows: EmbedRows, result: TrainingResult
) -> None:
    """Fill the result with the scores of the job's evaluation samples, or with the reason why there are none."""
    rows = evaluation_rows(job, data)
    embeddings = embed_rows(rows)
    reason = embedding_fault(embeddings)
    if reason:
        fail(result, reason)
        return
    result.health["spread"] = spread(embeddings)
    score(job, data, rows, embeddings, result, lambda: class_scores(job, data, loss, embeddings, embed_rows))
    if job.split == "validation" and not np.isfinite(result.metrics[job.metrics[0]]):
        fail(result, f"{job.metrics[0]} is not defined on the {len(rows)} validation samples of fold {job.fold}")
