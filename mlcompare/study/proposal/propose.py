"""Put a study together for some data and some minutes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlcompare.data import Splits
from mlcompare.data.survey import Survey
from mlcompare.errors import DataError, InvalidValueError, MLCompareError
from mlcompare.execution.devices import cpu_count, resolve_device
from mlcompare.study.config import validated
from mlcompare.study.feature_scale import scale_qualities
from mlcompare.study.plan import make_plan
from mlcompare.study.proposal.budget import ENOUGH, PLENTY, TIMED, Budget, Timed, fit_budget, time_plan
from mlcompare.study.proposal.first_look import outlined, with_encoder
from mlcompare.study.proposal.samples import encoders_for, stand_in

__all__ = ["Proposal", "propose"]

MOST_TIMED = 5000  # samples that trainings are timed on
LR = {"low": 1e-4, "high": 1e-2, "log": True}  # Adam's higher rates make small encoders collapse


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
    device = resolve_device(device)
    try:
        study, splits, protocol = outlined(found, path)
        scale, reason = _scale(found, splits)
        study, shape, budget = _fitted(found, study, splits, minutes, device)
        study["encoder"] |= scale
        make_plan(validated(study, str(found.path)), dataset=stand_in(found, shape))  # what `check` would refuse
    except MLCompareError as error:
        raise DataError(error.rule, value=error.value, cure=error.cure, place=str(found.path)) from None
    why = {f"protocol.{key}": reason for key, reason in protocol.why.items()} | _reasons(found, study, minutes, budget)
    return Proposal(study, why | reason, budget.minutes, minutes)


def _scale(found: Survey, splits: Splits) -> tuple[dict[str, str], dict[str, str]]:
    """What features are divided by, where one deviation for all of them serves at least as well, and why."""
    if found.is_images or found.dataset is None:
        return {}, {}
    qualities = scale_qualities(found.dataset, splits.folds[0].train)
    if not qualities or qualities["whole"] < qualities["column"]:
        return {}, {}
    why = (
        f"all columns by one deviation: MAP@R {qualities['whole']:.2f} before training, else {qualities['column']:.2f}"
    )
    return {"feature_scale": "whole"}, {"encoder.feature_scale": why}


def _fitted(
    found: Survey, study: dict[str, Any], splits: Splits, minutes: float, device: str
) -> tuple[dict[str, Any], tuple[int, ...], Budget]:
    """Go from the fastest encoder to slower ones, as long as the minutes hold enough of the rest."""
    batch = study["training"]["classes_per_batch"] * study["training"]["samples_per_class"]
    rows = min(len(fold.train) for fold in splits.folds)
    best: tuple[dict[str, Any], tuple[int, ...], Budget] | None = None
    for shape, encoder in encoders_for(found):
        tried = with_encoder(found, study, shape, encoder)
        budget = fit_budget(_timed(found, tried, shape, splits, device), minutes, samples=rows, batch=batch)
        if best is None or budget.tier >= ENOUGH:
            best = _with_budget(tried, budget), shape, budget
        if budget.tier < PLENTY:
            break
    assert best is not None
    return best


def _timed(found: Survey, study: dict[str, Any], shape: tuple[int, ...], splits: Splits, device: str) -> Timed:
    place = str(found.path)
    config = validated({**study, "losses": dict.fromkeys(TIMED)}, place)
    plan = make_plan(config, place=place, device=device, dataset=stand_in(found, shape, most=MOST_TIMED))
    return time_plan(plan, splits)


def _with_budget(study: dict[str, Any], budget: Budget) -> dict[str, Any]:
    parallel = max(2, -(-cpu_count() // study["protocol"]["folds"]))
    return {
        **study,
        "training": {"steps": budget.steps, **study["training"]},
        "search": {
            "trials": budget.trials, "parallel": parallel, **study["search"], "racing": "early", "space": {"lr": LR},
        },
        "final": {"seeds": budget.seeds},
        "losses": dict.fromkeys(budget.losses),
    }  # fmt: skip


def _reasons(found: Survey, study: dict[str, Any], minutes: float, budget: Budget) -> dict[str, str]:
    training, search = study["training"], study["search"]
    why = {"dataset.name": "`mlcompare show datasets NAME` tells what it takes", "dataset.path": "where they are"}
    why |= {f"dataset.{key}": reason for key, reason in found.reasons.items()}
    if found.images is not None:
        height, width = found.images.usual
        usual = f"{height} × {width}" + ("" if found.images.one_size else " in the median")
        why["dataset.size"] = f"height and width that each is resized to; they have {usual}"
        why["dataset.channels"] = "3: colour, 1: grey"
    batch = training["classes_per_batch"] * training["samples_per_class"]
    why["training.steps"] = "of every training; the ranking marks with ↗ who was still rising"
    why["training.classes_per_batch"] = "P classes in a batch, ..."
    why["training.samples_per_class"] = f"... of K samples: {batch} in all; K is searched at that size"
    why["training.augment"] = "pixels; add flip: 0.5 where a mirror image is of the same class"
    why["encoder.name"] = "`mlcompare list encoders` shows others, timm's and transformers' too"
    why["encoder.channels"] = why["encoder.width"] = "how wide it is"
    why["encoder.depth"] = "layers: 10, 18 or 34"
    why["encoder.embedding_dim"] = "numbers in an embedding"
    why["search.trials"] = "settings tried for each loss; the first is the paper's"
    why["search.parallel"] = "settings asked for at a time"
    why["search.objective"] = (
        "the share of right classes" if search["objective"] == "accuracy" else "mean average precision at R"
    )
    why["search.racing"] = "a setting that some folds make unlikely to lead does not see the others"
    why["search.space"] = "searched beside each loss's own numbers"
    why["final.seeds"] = "repetitions of the selected and the default setting on each fold"
    fits = f"about {budget.minutes:.0f} of {minutes:g} minutes" if budget.minutes <= minutes else (
        f"about {budget.minutes:.0f} minutes: {minutes:g} do not hold even this least study"
    )  # fmt: skip
    return {**why, "budget": f"{fits} on this machine ({cpu_count()} cores), by a few steps that were timed"}
