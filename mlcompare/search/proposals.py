"""What to try next: the paper's setting, what is known, then TPE or what other situations tell. Optuna is replayed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from mlcompare.search.space import Choice, Range, Space
from mlcompare.search.transfer import Transfer
from mlcompare.training import derive_seed

__all__ = [
    "Proposal",
    "Start",
    "Told",
    "default_values",
    "distributions",
    "fixed_values",
    "optuna_study",
    "propose",
    "published_trials",
]

optuna.logging.set_verbosity(optuna.logging.ERROR)
SHARE_OF_STARTS = 3  # one trial in so many, at most, is one that is known beforehand


@dataclass(frozen=True)
class Told:
    """A finished trial: its values, and its objective (``None``: failed).

    ``stopped_after`` is the number of folds a trial saw before it was stopped for being behind; 0 for whole trials.
    ``expected`` is what its objective over all folds would be, by what it lacked on those (folds are not equally hard).
    """

    number: int
    values: Mapping[str, Any]
    objective: float | None
    stopped_after: int = 0
    expected: float | None = None


@dataclass(frozen=True)
class Start:
    """A setting to try before any sampling, and where it comes from: ``prior``, ``earlier`` or ``published``."""

    values: Mapping[str, Any]
    source: str


@dataclass(frozen=True)
class Proposal:
    """A trial to run, and where its values come from: default, prior, earlier, published or sampled."""

    number: int
    values: dict[str, Any]
    source: str


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Return Optuna's distributions of the searched dimensions."""
    return {name: _distribution(dimension) for name, dimension in space.items() if _searched(dimension)}


def _searched(dimension: Any) -> bool:
    return isinstance(dimension, Range | Choice)


def _distribution(dimension: Range | Choice) -> BaseDistribution:
    if isinstance(dimension, Choice):
        return CategoricalDistribution(dimension.values)
    if dimension.integer:
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def fixed_values(space: Space) -> dict[str, Any]:
    """Return the dimensions that are not searched."""
    return {name: value for name, value in space.items() if not _searched(value)}


def default_values(space: Space) -> dict[str, Any]:
    """Return the paper's setting: trial 0."""
    return {name: value.default if _searched(value) else value for name, value in space.items()}


def published_trials(
    space: Space, published: Sequence[Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], list[tuple[Mapping[str, Any], str]]]:
    """Return the published settings that a study tries, whole and in order, and those it can't, each with the reason.

    The rule: a loss declares ranges that hold its published settings, so that a study which says nothing tries them
    all. One that fixes or narrows a dimension has its way, and a setting outside is left out for that reason.
    """
    tried: list[dict[str, Any]] = []
    left_out: list[tuple[Mapping[str, Any], str]] = []
    for setting in published:
        reasons = [reason for name, value in setting.items() if (reason := _outside(space, name, value))]
        values = {**default_values(space), **setting}
        if reasons:
            left_out.append((setting, "; ".join(reasons)))
        elif values == default_values(space) or values in tried:
            left_out.append((setting, "the same as the default or an earlier setting"))
        else:
            tried.append(values)
    return tried, left_out


def _outside(space: Space, name: str, value: Any) -> str:
    """Return why ``value`` can't be tried, or nothing."""
    if name not in space:
        return f"{name} is not a hyperparameter of this entry"
    dimension = space[name]
    if not _searched(dimension):
        return "" if dimension == value else f"{name}={value}, and the study fixes {name}={dimension}"
    if dimension.contains(value):
        return ""
    if isinstance(dimension, Choice):
        return f"{name}={value} is none of {', '.join(map(str, dimension.values))}"
    return f"{name}={value} lies outside {dimension.low:g} – {dimension.high:g}"


def _waiting(space: Space, told: Sequence[Told], first: Sequence[Start], trials: int) -> list[tuple[dict, str]]:
    """Return what is to be tried before any sampling, in order: the default, then those of ``first`` that can be.

    They take a third of the budget at most. What was tried is out: when the budget grows, the rest has its turn.
    """
    default = default_values(space)
    tried, _ = published_trials(space, [start.values for start in first])
    sources = {repr({**default, **start.values}): start.source for start in reversed(first)}
    waiting = [(values, sources[repr(values)]) for values in tried[: max(0, trials // SHARE_OF_STARTS)]]
    waiting = [(values, source) for values, source in waiting if all(values != trial.values for trial in told)]
    return waiting if any(trial.number == 0 for trial in told) else [(default, "default"), *waiting]


def propose(
    space: Space,
    told: Sequence[Told],
    numbers: Sequence[int],
    *,
    seed_parts: tuple,
    first: Sequence[Start] = (),
    transfer: Transfer | None = None,
    trials: int,
    startup_trials: int | None = None,
    maximize: bool = True,
) -> list[Proposal]:
    """Propose trials ``numbers`` given every trial told so far.

    Each number has its own sampler, seeded by ``seed_parts`` and the number, and sees the numbers before it as running:
    a resumed study that asks for the whole round gets the same again. A ``transfer`` that knows any situation takes the
    sampler's place; what is running has, for it, the score that it expects.
    """
    waiting = _waiting(space, told, first, trials)
    searched = distributions(space)
    study = None
    proposals: list[Proposal] = []
    running: list[tuple[Mapping[str, Any], float | None]] = []
    for number in numbers:
        if waiting or not searched:
            values, source = waiting.pop(0) if waiting else (default_values(space), "default")
            running.append((values, None))
        elif transfer is not None and transfer.knows:
            values, expected = transfer.next(*_known(told, running, maximize))
            running.append((values, expected))
            source = "prior"
        else:
            study = study or optuna_study(space, told, maximize=maximize)
            startup = startup_trials if startup_trials is not None else max(1, math.ceil(trials / 3))
            study.sampler = optuna.samplers.TPESampler(
                seed=derive_seed(*seed_parts, number) % 2**32, n_startup_trials=startup
            )
            values, source = {**fixed_values(space), **study.ask(searched).params}, "sampled"
        proposals.append(Proposal(number, dict(values), source))
    return proposals


def _known(
    told: Sequence[Told], running: Sequence[tuple[Mapping[str, Any], float | None]], maximize: bool
) -> tuple[list[Mapping[str, Any]], list[float]]:
    """Return every setting with its score, larger is better: a failed one counts as the worst, one that is running as
    what is expected of it, or as the mean.
    """
    sign = 1.0 if maximize else -1.0
    ordered = sorted(told, key=lambda trial: trial.number)
    scores = [sign * trial.objective for trial in ordered if trial.objective is not None]
    worst, mean = (min(scores), sum(scores) / len(scores)) if scores else (0.0, 0.0)
    settings = [trial.values for trial in ordered] + [values for values, _ in running]
    reached = [trial.objective if trial.expected is None else trial.expected for trial in ordered]
    known = [worst if score is None else sign * score for score in reached]
    return settings, known + [mean if expected is None else expected for _, expected in running]


def optuna_study(
    space: Space, told: Sequence[Told], *, maximize: bool = True, storage: Any = None, name: str | None = None
) -> optuna.Study:
    """Replay told trials into an Optuna study (in memory unless a storage is given)."""
    direction: Literal["maximize", "minimize"] = "maximize" if maximize else "minimize"
    study = optuna.create_study(direction=direction, storage=storage, study_name=name)
    study.add_trials(_frozen_trials(space, told))
    return study


def _frozen_trials(space: Space, told: Sequence[Told]) -> list[optuna.trial.FrozenTrial]:
    """Return told trials as Optuna's, in the order of their numbers."""
    searched = distributions(space)
    trials = []
    for trial in sorted(told, key=lambda t: t.number):
        whole = TrialState.PRUNED if trial.stopped_after else TrialState.COMPLETE
        early = {}
        if trial.stopped_after and trial.objective is not None:
            early[trial.stopped_after] = trial.objective
        trials.append(
            create_trial(
                state=TrialState.FAIL if trial.objective is None else whole,
                value=None if trial.stopped_after else trial.objective,
                intermediate_values=early,
                params={key: trial.values[key] for key in searched},
                distributions=searched,
            )
        )
    return trials
