"""Loss entries of a study file: one loss, a ``sum`` of terms, or ``stages``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlcompare.errors import InvalidValueError, MLCompareError, StudyFileError, UnknownNameError, did_you_mean
from mlcompare.losses.compose import LossEntry, Term
from mlcompare.registry import by_name
from mlcompare.search.needs import HEAD_KEYS, owns_weights
from mlcompare.search.space import Space, loss_space
from mlcompare.search.training_space import training_dimensions, training_space
from mlcompare.training import BASELINES

__all__ = ["parse_entry"]


def parse_entry(name: str, given: Any, *, training: Space, base: Mapping[str, float]) -> tuple[LossEntry, Space]:
    """Return a study entry and its search space (training numbers first, then the loss's own).

    ``training`` is the space that the study searches for every loss; an entry may override its dimensions.

    Raises:
        StudyFileError: with the key, the rule, the value and the cure.
    """
    _check_name(name)
    try:
        given = _mapping(given)
        kind = "sum" if "sum" in given else "stages" if "stages" in given else "single"
        build = _single if kind == "single" else _composed
        entry, values = build(name, given, kind)
        known, searchable = {*entry.hyperparameters, *entry.options}, training_dimensions()
        values = by_name(values, searchable | entry.hyperparameters | entry.options)
        for key in training:
            if key in known:
                cure = f"fix the optimiser's as training.{key}"
                rule = f"`search.space.{key}` is the optimiser's, and this loss has a {key} of its own"
                raise InvalidValueError(rule, cure=cure)
        of_training = {key: value for key, value in values.items() if key in searchable and key not in known}
        own = {key: value for key, value in values.items() if key not in of_training}
        for key in HEAD_KEYS & of_training.keys():
            if not owns_weights(entry):
                rule = "this loss has no weights of its own"
                raise InvalidValueError(rule, value=key, cure="leave it out", place=key)
        space = {**training, **training_space(of_training, base), **loss_space(entry, own, beside=searchable)}
    except MLCompareError as error:
        place = f"losses.{name}" + (f".{error.place}" if error.place else "")
        raise StudyFileError(error.rule, value=error.value, cure=error.cure, place=place) from None
    alone = [spec.name for spec in entry.specs if spec.term and entry.form != "sum"]
    if alone:
        cure = f"add it to a sum: {{sum: [{{loss: softmax}}, {{loss: {alone[0]}}}]}}"
        raise StudyFileError("this term means nothing alone", value=alone[0], cure=cure, place=f"losses.{name}")
    return entry, space


def _check_name(name: str) -> None:
    """An entry's name heads rows of tables and names folders of a store."""
    place = f"losses.{name}" if name and name.isprintable() else "losses"
    if name in BASELINES:
        rule, cure = "this is a baseline's name, which stands in every table", f"write `my_{name}: {{loss: …}}`"
        raise StudyFileError(rule, value=repr(name), cure=cure, place=place)
    plain = name == name.strip() and name.isprintable() and len(name) <= 100
    if not plain or any(part in ("", ".", "..") for part in name.split("/")):
        rule, cure = "an entry's name is 1 to 100 printable characters, and no path", "write `my_name: {loss: …}`"
        raise StudyFileError(rule, value=repr(name)[:80], cure=cure, place=place)


def _mapping(given: Any) -> Mapping[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        rule = "must be empty or a mapping of hyperparameters"
        raise InvalidValueError(rule, value=repr(given)[:80], cure="write `margin: 0.3` below it")
    return given


def _single(name: str, given: Mapping[str, Any], _kind: str) -> tuple[LossEntry, dict[str, Any]]:
    values = dict(given)
    loss = values.pop("loss", name)
    return LossEntry(name, "single", (Term(loss),)), values


def _composed(name: str, given: Mapping[str, Any], kind: str) -> tuple[LossEntry, dict[str, Any]]:
    values, searchable = {key: value for key, value in given.items() if key != kind}, training_dimensions()
    for key in values:
        if key not in searchable:
            rule = f"unknown key {key!r} beside {kind}"
            raise UnknownNameError(rule, cure=did_you_mean(key, searchable), place=key)
    items = given[kind]
    if not isinstance(items, list) or len(items) < 2:
        raise InvalidValueError(f"`{kind}` must list two losses or more", value=repr(items)[:80], place=kind)
    terms, parts = [], []
    for number, item in enumerate(items):
        term, part = _term(item, kind, f"{kind}[{number}]")
        terms.append(term)
        parts.append(part)
    entry = LossEntry(name, kind, tuple(terms))
    flat = {(slot.term, slot.name): key for key, slot in entry.layout.items()}
    for number, part in enumerate(parts):
        own = {slot.name: slot.declaration for slot in entry.layout.values() if slot.term == number}
        try:
            part = by_name(part, own)
        except InvalidValueError as error:
            place = f"{kind}[{number}].{error.place}"
            raise InvalidValueError(error.rule, value=error.value, cure=error.cure, place=place) from None
        for key, value in part.items():
            if (number, key) not in flat:
                cure = did_you_mean(key, own)
                raise UnknownNameError(f"unknown hyperparameter {key!r}", cure=cure, place=f"{kind}[{number}].{key}")
            values[flat[number, key]] = value
    return entry, values


def _term(item: Any, kind: str, place: str) -> tuple[Term, dict[str, Any]]:
    if not isinstance(item, Mapping) or "loss" not in item:
        raise InvalidValueError("must name a loss", value=repr(item)[:80], cure="write {loss: softmax}", place=place)
    part = dict(item)
    loss, share = part.pop("loss"), part.pop("share", 1.0) if kind == "stages" else 1.0
    if not isinstance(share, int | float) or isinstance(share, bool) or not 0 < share <= 1:
        raise InvalidValueError("`0 < share <= 1` must hold", value=f"share={share!r}", place=f"{place}.share")
    return Term(loss, float(share)), part
