"""What a training costs alone and as one of a population: a few steps of each are timed, and their memory is seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mlcompare.execution.devices import cpu_count
from mlcompare.training import TrainingData, TrainingJob, TrainingResult, train
from mlcompare.training.feed import room
from mlcompare.training.population import train_population

__all__ = ["ProbeFailedError", "Timed", "time_engines"]

PROBE_STEPS = 4
PROBE_WIDTH = 32
FEW = 3  # members enough to see what each costs
PROBE_SECONDS = 0.05  # a longer run must take so much longer than a short one, or the clock tells nothing
MOST_STEPS = 64
STARTS = 3  # trainings begun to time one kind
WIDE_SECONDS = 4.0  # what timing the wide population may take, by what its first members took


class ProbeFailedError(Exception):
    """A training that was to be timed failed: its time says nothing."""


@dataclass(frozen=True)
class Timed:
    """Seconds of a ``step`` alone, of a whole training alone, and of one in a population of ``width``.

    ``together`` is None where each further member costs more than a step alone: no width makes up for that. ``fits``
    is how many members fit half of what memory is free now, by how it grew with them; None where it did not.
    """

    step: float
    alone: float
    together: float | None = None
    width: int = 1
    fits: int | None = None


def time_engines(data: TrainingData, jobs: Sequence[TrainingJob]) -> Timed:
    """Train a few steps of jobs that could be a population, one alone and several together. Nothing is scored.

    Raises:
        ProbeFailedError: one of them fails.
    """
    steps, jobs = jobs[0].training.steps, [_short(job, 1) for job in jobs[:PROBE_WIDTH]]
    peaks: dict[int, int] = {}  # width → bytes

    def population(width: int) -> tuple[float, float]:
        def run(n: int) -> list[TrainingResult]:
            results = train_population([_short(job, n) for job in jobs[:width]], data, scored=False)
            peaks[width] = max(result.peak_memory for result in results)
            return results

        return _cost(run)

    start, step = _cost(lambda n: [train(_short(jobs[0], n), data, scored=False)])
    alone = start + step * steps
    few = min(FEW, len(jobs))
    some, one = (population(few), population(1)) if few > 1 else ((0.0, 0.0), (0.0, 0.0))
    begin, further = ((b - a) / (few - 1) if few > 1 else 0.0 for a, b in zip(one, some))
    if further > step:  # spare the study a wide population
        return Timed(step, alone)
    width = _width(len(jobs), few, begin, further)
    start, step_of_all = population(width)
    return Timed(step, alone, (start + step_of_all * steps) / width, width, _fits(peaks, jobs[0].device))


def _fits(peaks: dict[int, int], device: str) -> int | None:
    """Return how many members fit, by how the peak of memory grew with them."""
    narrow, wide = (min(peaks), max(peaks)) if peaks else (0, 0)
    if wide == narrow or peaks[wide] <= peaks[narrow]:
        return None
    each = (peaks[wide] - peaks[narrow]) / (wide - narrow)
    sharing = 1 if device.startswith("cuda") else cpu_count()  # workers that may hold a population at a time
    return max(int(room(device) / each / sharing), 1)


def _width(most: int, few: int, begin: float, further: float) -> int:
    """Return how many members can be timed in some seconds, if each takes as long as the first ones did."""
    each = STARTS * begin + (STARTS + PROBE_STEPS) * further
    return max(few, min(most, int(WIDE_SECONDS / each))) if each > 0 else most


def _short(job: TrainingJob, steps: int) -> TrainingJob:
    training = job.training.replaced(steps=steps, evaluations=0, select="last")
    values = {key: value for key, value in job.hyperparameters.items() if key != "steps"}  # where a study searches it
    return replace(job, training=training, hyperparameters=values, split="validation", keep=False, folder=None)


def _cost(run: Callable[[int], list[TrainingResult]]) -> tuple[float, float]:
    """Return the seconds of ``run(steps)`` for one step with all that surrounds it, and for each further step."""
    run(1)  # what only the first of its kind pays
    short, further = _seconds(run, 1), PROBE_STEPS
    while (longer := _seconds(run, 1 + further) - short) < PROBE_SECONDS and further < MOST_STEPS:
        further *= 4
    return short, max(longer, 0.0) / further


def _seconds(run: Callable[[int], list[TrainingResult]], steps: int) -> float:
    started = time.perf_counter()
    results = run(steps)
    seconds = time.perf_counter() - started
    for result in results:
        if result.status != "ok":
            raise ProbeFailedError(result.reason)
    return seconds
