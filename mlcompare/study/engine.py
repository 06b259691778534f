"""Which way is faster here: trainings one by one, or populations. Measured once, then kept by the store."""

from __future__ import annotations

from dataclasses import dataclass

from mlcompare.errors import StoreError
from mlcompare.execution.apart import DiedError, run_apart
from mlcompare.execution.timing import ProbeFailedError, time_engines
from mlcompare.search.proposals import default_values
from mlcompare.study.plan import LossPlan, StudyPlan
from mlcompare.study.store import Store

__all__ = ["MAX_WIDTH", "Engine", "choose_engine", "settle_engine"]

MAX_WIDTH = 128  # members of a population: beyond it a step costs as much for each


@dataclass(frozen=True)
class Engine:
    """The choice, and why; ``faster`` says how many times, by the loss that was timed (1: not measured).

    ``width`` is the most members of a population that fit the memory, where fewer fit than are ever put together.
    """

    populations: bool
    why: str
    faster: float = 1.0
    width: int | None = None


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
        return Engine(known["populations"], known["why"], width=known.get("width"))
    if wanted is not None:
        engine = Engine(wanted, alone or ("populations as asked" if wanted else "single trainings as asked"))
    else:
        engine = choose_engine(plan)
    width = {} if engine.width is None else {"width": engine.width}
    store.append({"type": "engine", "populations": engine.populations, "why": engine.why, **width})
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
    except (ProbeFailedError, DiedError) as failure:
        return Engine(False, f"single trainings: a short one of {batched[0].name} failed ({failure})")


def _measured(plan: StudyPlan, loss: LossPlan) -> Engine:
    round_ = plan.trial_jobs(loss.name, 0, default_values(loss.space)) * plan.config.search.parallel
    if plan.device.startswith("cuda"):  # this process holds no context: it would take memory until the study ends
        timed = run_apart(time_engines, plan.data, round_, threads=plan.threads)
    else:
        timed = time_engines(plan.data, round_)
    if timed.together is None:
        numbers = f"{1e3 * timed.step:.0f} ms a step, and each further member of a population more ({loss.name})"
        return Engine(False, f"single trainings: {numbers}")
    numbers = f"{timed.together:.2f} s a training in a population of {timed.width}, {timed.alone:.2f} s alone"
    if timed.together >= timed.alone:
        return Engine(False, f"single trainings: {numbers} ({loss.name})")
    fits = None if timed.fits is None or timed.fits >= MAX_WIDTH else timed.fits
    bounded = "" if fits is None else f"; no more than {fits} fit the memory"
    return Engine(True, f"populations: {numbers} ({loss.name}){bounded}", timed.alone / timed.together, fits)
