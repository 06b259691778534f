"""Which way is faster here: trainings one by one, or populations. Measured once, then kept by the store."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from mlcompare.errors import StoreError
from mlcompare.search.proposals import default_values
from mlcompare.study.plan import LossPlan, StudyPlan
from mlcompare.study.store import Store
from mlcompare.training import TrainingJob, TrainingResult, train
from mlcompare.training.population import train_population

__all__ = ["Engine", "choose_engine", "settle_engine"]

PROBE_STEPS = 4
PROBE_WIDTH = 32
FEW = 3  # members enough to see what each costs
PROBE_SECONDS = 0.05  # a longer run must take so much longer than a short one, or the clock tells nothing
MOST_STEPS = 64
STARTS = 3  # trainings begun to time one kind
WIDE_SECONDS = 4.0  # what timing the wide population may take, by what its first members took


@dataclass(frozen=True)
class Engine:
    """The choice, and why; ``faster`` says how many times, by the loss that was timed (1: not measured)."""

    populations: bool
    why: str
    faster: float = 1.0


def settle_engine(executor: str, plan: StudyPlan, store: Store, *, populations: bool | None = None) -> Engine:
    """Return the engine of a store: the one it was begun with, else the one asked for, else the faster one.

    Args:
        executor: ``auto`` measures, ``population`` asks for populations, the others for single trainings.
        populations: what is asked for, whatever the executor.

    Raises:
        StoreError: the store was begun with the other engine: its numbers would not repeat.
    """
    known = next((r for r in store.records if r["type"] == "engine"), None)
    wanted = {"population": True, "auto": None}.get(executor, False) if populations is None else populations
    alone = f"single trainings: {plan.alone}" if wanted and plan.alone else None  # whatever is asked for
    wanted = False if alone else wanted
    if known is not None:
        if wanted is not None and wanted != known["populations"]:
            begun = "populations" if known["populations"] else "single trainings"
            cure = "ask for the same engine, or use another --store"
            raise StoreError("a store keeps its engine", value=f"begun with {begun}", cure=cure, place=str(store.path))
        return Engine(known["populations"], known["why"])
    if wanted is not None:
        engine = Engine(wanted, alone or ("populations as asked" if wanted else "single trainings as asked"))
    else:
        engine = choose_engine(plan)
    store.append({"type": "engine", "populations": engine.populations, "why": engine.why})
    return engine


def choose_engine(plan: StudyPlan) -> Engine:
    """Train a few steps both ways on the first loss that can, and take the way with the cheaper training.

    Steps alone are timed: scoring costs the same both ways.
    """
    batched = [loss for loss in plan.losses.values() if loss.entry.batched]
    if not batched:
        return Engine(False, "single trainings: no loss here runs in a population")
    if plan.alone is not None:
        return Engine(False, f"single trainings: {plan.alone}")
    try:
        return _measured(plan, batched[0])
    except _ProbeFailed as failure:
        return Engine(False, f"single trainings: a short one of {batched[0].name} failed ({failure})")


class _ProbeFailed(Exception):
    """A training that was to be timed failed: its time says nothing."""


def _measured(plan: StudyPlan, loss: LossPlan) -> Engine:
    round_ = plan.trial_jobs(loss.name, 0, default_values(loss.space)) * plan.config.search.parallel
    jobs = [_short(job, 1) for job in round_[:PROBE_WIDTH]]
    steps = plan.training.steps

    def population(width: int) -> tuple[float, float]:
        return _cost(lambda n: train_population([_short(job, n) for job in jobs[:width]], plan.data, scored=False))

    start, step = _cost(lambda n: [train(_short(jobs[0], n), plan.data, scored=False)])
    single = start + step * steps
    few = min(FEW, len(jobs))
    some, alone = (population(few), population(1)) if few > 1 else ((0.0, 0.0), (0.0, 0.0))
    begin, further = ((b - a) / (few - 1) if few > 1 else 0.0 for a, b in zip(alone, some))
    if further > step:  # no width makes up for that: spare the study a wide population
        numbers = f"{1e3 * step:.0f} ms a step, and each further member of a population more ({loss.name})"
        return Engine(False, f"single trainings: {numbers}")
    width = _width(len(jobs), few, begin, further)
    start, step = population(width)
    together = (start + step * steps) / width
    numbers = f"{together:.2f} s a training in a population of {width}, {single:.2f} s alone ({loss.name})"
    if together < single:
        return Engine(True, f"populations: {numbers}", single / together)
    return Engine(False, f"single trainings: {numbers}")


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
            raise _ProbeFailed(result.reason)
    return seconds
