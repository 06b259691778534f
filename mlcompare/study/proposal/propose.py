"""Put a study together for some data and some minutes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlcompare.data import draw_splits
from mlcompare.data.survey import Survey
from mlcompare.errors import DataError, InvalidValueError, MLCompareError
from mlcompare.execution.devices import cpu_count, resolve_device
from mlcompare.study.config import validated
from mlcompare.study.plan import make_plan
from mlcompare.study.proposal.budget import ENOUGH, LOSSES, TIMED, Budget, Timed, fit_budget, time_plan
from mlcompare.study.proposal.protocol import choose_protocol
from mlcompare.study.proposal.samples import batch_of, encoders_for, stand_in

__all__ = ["Proposal", "propose"]

MOST_TIMED = 20_000  # samples that trainings are timed on
SMALLEST_SHIFTED = 20  # pixels a side from which on pictures are shifted


@dataclass(frozen=True)
class Proposal:
    """A study as its file holds it, the reason of each key (``section.key``), and the minutes that it should take."""

    study: dict[str, Any]
    why: Mapping[str, str]
    minutes: float
    asked: float

    @property
    def fits(self) -> bool:
        """Whether it takes no longer than was asked for."""
        return self.minutes <= self.asked


def propose(found: Survey, path: str, minutes: float, *, device: str = "auto") -> Proposal:
    """Return a study of the data that fits into the minutes; trainings of a few steps are timed for it.

    Args:
        path: how the study file is to name the data.
        device: where the study will run: auto, cpu or cuda.

    Raises:
        InvalidValueError: the minutes are not above 0.
        DataError: no study can be made of the data.
    """
    if not 0 < minutes < float("inf"):
        raise InvalidValueError("`--minutes` must be above 0", value=f"{minutes:g}")
    protocol = choose_protocol(found)
    options = dict(protocol.section)
    try:
        splits = draw_splits(found.labels, official=found.split, names=found.class_names, **options)
        places, samples = batch_of(splits, found.labels)
        training: dict[str, Any] = {"classes_per_batch": places, "samples_per_class": samples}
        closed = options["kind"] == "closed_set"
        study = {
            "name": _name(found), "question": _question(closed), "decision_rule": _rule(closed),
            "dataset": {"name": found.reader, "path": path, **found.options}, "protocol": options, "encoder": {},
            "training": training, "search": {}, "final": {}, "losses": {},
        }  # fmt: skip
        study, budget = _fitted(found, study, minutes, resolve_device(device), min(len(f.train) for f in splits.folds))
    except MLCompareError as error:
        raise DataError(error.rule, value=error.value, cure=error.cure, place=str(found.path)) from None
    why = {f"protocol.{key}": reason for key, reason in protocol.why.items()} | _reasons(found, study, minutes, budget)
    return Proposal(study, why, budget.minutes, minutes)


def _fitted(
    found: Survey, study: dict[str, Any], minutes: float, device: str, samples: int
) -> tuple[dict[str, Any], Budget]:
    """Go from the slowest encoder to the fastest, until the minutes hold enough of the rest."""
    batch = study["training"]["classes_per_batch"] * study["training"]["samples_per_class"]
    for shape, encoder in encoders_for(found):
        tried = _with_encoder(found, study, shape, encoder)
        timed = _timed(found, tried, shape, device)
        budget = fit_budget(timed, minutes, samples=samples, batch=batch)
        if budget.tier >= ENOUGH:
            break
    return _with_budget(tried, budget), budget


def _with_encoder(
    found: Survey, study: dict[str, Any], shape: tuple[int, ...], encoder: dict[str, Any]
) -> dict[str, Any]:
    dataset, training = dict(study["dataset"]), dict(study["training"])
    if found.images is not None:
        place = list(dataset.items())
        dataset = dict([*place[:2], ("size", list(shape[1:])), ("channels", shape[0]), *place[2:]])
    if len(shape) == 3 and min(shape[1:]) >= SMALLEST_SHIFTED:
        training["augment"] = {"shift": 2}
    return {**study, "dataset": dataset, "encoder": encoder, "training": training}


def _timed(found: Survey, study: dict[str, Any], shape: tuple[int, ...], device: str) -> Timed:
    place = str(found.path)
    config = validated({**_with_budget(study, None), "losses": dict.fromkeys(LOSSES)}, place)
    whole = make_plan(config, place=place, dataset=stand_in(found, shape))  # what `check` would refuse is refused here
    small = stand_in(found, shape, most=MOST_TIMED)
    timed = validated({**_with_budget(study, None), "losses": dict.fromkeys(TIMED)}, place)
    return time_plan(make_plan(timed, place=place, device=device, dataset=small), whole)


def _with_budget(study: dict[str, Any], budget: Budget | None) -> dict[str, Any]:
    closed = study["protocol"]["kind"] == "closed_set"
    objective = "accuracy" if closed else "map_at_r"
    if budget is None:
        return {**study, "search": {"objective": objective}, "final": {"seeds": 2}}
    parallel = max(2, -(-cpu_count() // study["protocol"]["folds"]))
    return {
        **study,
        "training": {"steps": budget.steps, **study["training"]},
        "search": {"trials": budget.trials, "parallel": parallel, "objective": objective, "racing": True},
        "final": {"seeds": budget.seeds},
        "losses": dict.fromkeys(budget.losses),
    }


def _name(found: Survey) -> str:
    """Return the data's name as a study may be called."""
    path = Path(found.path).resolve()
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", path.name if path.is_dir() else path.stem).lstrip("._-")
    return plain[:100] or "my-study"


def _question(closed: bool) -> str:
    if closed:
        return "Which loss classifies new samples of these classes best?"
    return "Which loss retrieves best among classes never seen in training?"


def _rule(closed: bool) -> str:
    metric = "accuracy" if closed else "MAP@R"
    return f"The 95 % interval of the paired {metric} difference between the best of each family excludes zero."


def _reasons(found: Survey, study: dict[str, Any], minutes: float, budget: Budget) -> dict[str, str]:
    training, search = study["training"], study["search"]
    why = {f"dataset.{key}": reason for key, reason in found.reasons.items()}
    if found.images is not None:
        height, width = found.images.usual
        why["dataset.size"] = f"height and width that each is resized to; most have {height} × {width}"
        why["dataset.channels"] = "3: colour, 1: grey"
    batch = training["classes_per_batch"] * training["samples_per_class"]
    why["training.steps"] = "of every training; the ranking marks with ↗ who was still rising"
    why["training.classes_per_batch"] = "P classes in a batch, ..."
    why["training.samples_per_class"] = f"... of K samples: {batch} in all; K is searched at that size"
    why["training.augment"] = "pixels; add flip: 0.5 where a mirror image is of the same class"
    why["encoder.name"] = "`mlcompare list encoders` shows others, timm's and transformers' too"
    why["encoder.embedding_dim"] = "numbers in an embedding"
    why["search.trials"] = "settings tried for each loss; the first is the paper's"
    why["search.parallel"] = "settings asked for at a time"
    why["search.objective"] = (
        "the share of right classes" if search["objective"] == "accuracy" else "mean average precision at R"
    )
    why["search.racing"] = "a setting clearly behind on some folds does not see the others"
    why["final.seeds"] = "repetitions of the selected and the default setting on each fold"
    fits = f"about {budget.minutes:.0f} of {minutes:g} minutes" if budget.minutes <= minutes else (
        f"about {budget.minutes:.0f} minutes: {minutes:g} do not hold even this least study"
    )  # fmt: skip
    return {**why, "budget": f"{fits} on this machine ({cpu_count()} cores), by a few steps that were timed"}
