"""Whether the memory that is free suffices for a study's trainings, and what would fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mlcompare.encoders import create_encoder
from mlcompare.execution import devices
from mlcompare.study.plan import StudyPlan
from mlcompare.study.spaces import own_weights
from mlcompare.training.freeze import freeze
from mlcompare.training.memory_need import MemoryNeed, memory_need

__all__ = ["free_memory", "least_memory", "memory_note", "too_little_memory"]

SMALLER = "take a narrower encoder or smaller samples"


def too_little_memory(plan: StudyPlan, workers: int) -> str:
    """Say, before anything is trained, what would fit where the least that trainings need is more than is free."""
    available = free_memory(plan)
    if available is None or plan.config.trainer is not None:
        return ""
    need, samples, ranks = least_memory(plan), _embedded(plan), plan.training.ranks
    if need is None:
        return ""
    pieces = min(need.fitting(available // ranks), samples - 1)
    return memory_note(ranks * need.of(samples), workers, available, pieces=pieces, about="at least")


def free_memory(plan: StudyPlan) -> int | None:
    """Return the bytes that trainings can have here; None on a GPU, which is not touched before one trains."""
    return devices.available_memory() if plan.device == "cpu" else None


def least_memory(plan: StudyPlan) -> MemoryNeed | None:
    """Return what a process of the plan's trainings takes at least; None where the encoder can't be tried.

    Of class weights a rank holds its share where they are sharded. Where a step sees a share of the classes the weights
    alone count: gradients and the optimiser's state are only of classes that were seen.
    """
    encoder, dataset = plan.encoder, plan.data.dataset
    built = create_encoder(
        encoder.name, input_shape=dataset.sample_shape, embedding_dim=encoder.embedding_dim, **encoder.options
    )
    freeze(built, encoder.freeze)
    classes = min(len(np.unique(fold.labels(dataset.labels))) for fold in plan.data.splits.folds)
    own = max(own_weights(loss.entry, loss.space, plan.config, classes) for loss in plan.losses.values())
    own //= plan.training.ranks if plan.training.class_weights == "sharded" else 1
    unseen = own if plan.training.class_sample < 1 else 0
    need = memory_need(built, dataset.sample_shape, plan.training, own - unseen)
    return None if need is None else replace(need, weights=need.weights + 4 * unseen)


def _embedded(plan: StudyPlan) -> int:
    """How many samples a process embeds at a time."""
    training = plan.training
    batch = -(-training.classes_per_batch * training.samples_per_class // training.ranks)
    return min(batch, training.microbatch or batch)


def memory_note(each: int, workers: int, available: int | None, *, pieces: int = 0, about: str = "about") -> str:
    """Say what would fit where workers of so many bytes each need more than are available; else nothing.

    Args:
        pieces: how many samples at a time fit one training; 0 where none do, or where that is not known.
        about: ``about``, or ``at least``.

    >>> memory_note(2**30, 4, 3 * 2**30)
    'note: 4 workers of about 1024 MB need more than the 3072 MB that are free: give run --workers 3'
    >>> memory_note(2**30, 4, 2**29, pieces=12, about="at least")
    'note: a training needs at least 1024 MB, and 512 MB are free: training.microbatch: 8 would fit'
    """
    if available is None or workers * each <= available:
        return ""
    fit, free = int(available // each), f"{available / 2**20:.0f} MB"
    if fit:
        need = f"{workers} workers of {about} {each / 2**20:.0f} MB need more than the {free} that are free"
        return f"note: {need}: give run --workers {fit}"
    cure = f"training.microbatch: {1 << pieces.bit_length() - 1} would fit" if pieces else SMALLER
    return f"note: a training needs {about} {each / 2**20:.0f} MB, and {free} are free: {cure}"
