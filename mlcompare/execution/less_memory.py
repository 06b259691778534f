"""What becomes of trainings that ran out of memory: the same again, with less of it held at a time."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from mlcompare.training import OUT_OF_MEMORY, TrainingJob, TrainingResult

__all__ = ["with_less_memory"]

SMALLEST = 8  # samples of a piece: below that the rest of the training is what doesn't fit

Run = Callable[[Sequence[TrainingJob]], list[TrainingResult]]


def with_less_memory(jobs: Sequence[TrainingJob], run: Run) -> list[TrainingResult]:
    """Run jobs; where memory does not suffice, run half of a population at a time, or a training in smaller pieces.

    A population that is cut up trains as it did, within rounding; so does a training in pieces
    (``training.microbatch``), unless it has batch norm, which then normalises each piece by itself. A result that came
    of it says so in ``retried``. What still does not fit with pieces of 8 samples fails as out of memory.

    Args:
        jobs: one, or a population.
        run: trains them, and records out of memory as the reason.
    """
    results = run(jobs)
    short = [number for number, result in enumerate(results) if result.reason == OUT_OF_MEMORY]
    if not short or jobs[0].trainer is not None:
        return results
    _free()
    if len(jobs) > 1:
        middle = (len(short) + 1) // 2
        for part in filter(None, (short[:middle], short[middle:])):
            again = with_less_memory([jobs[number] for number in part], run)
            for number, result in zip(part, again):
                result.retried = result.retried or f"out of memory as one of {len(jobs)}: trained as one of {len(part)}"
                results[number] = result
        return results
    training = jobs[0].training
    size = training.microbatch or training.classes_per_batch * training.samples_per_class
    while results[0].reason == OUT_OF_MEMORY and size > SMALLEST:
        size = max(-(-size // 2), SMALLEST)
        results = run([replace(jobs[0], training=training.model_copy(update={"microbatch": size}))])
        results[0].retried = f"out of memory: trained in pieces of {size}"
        _free()
    return results


def _free() -> None:
    """Let go of what the failed training held."""
    gc.collect()
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
