"""Loss entries of a study file: one loss, a ``sum`` of terms, ``stages``, or a wrapper around a loss or a sum."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mlcompare.errors import InvalidValueError, MLCompareError, StudyFileError, UnknownNameError, did_you_mean
from mlcompare.losses.compose import LossEntry, Term
from mlcompare.registry import WRAPPERS, by_name, get_spec
from mlcompare.search.needs import HEAD_KEYS, owns_weights
from mlcompare.search.space import Space, loss_space
from mlcompare.search.training_space import training_dimensions, training_space
from mlcompare.training import BASELINES

__all__ = ["named_in", "parse_entry"]


def parse_entry(name: str, given: Any, *, training: Space, base: Mapping[str, float]) -> tuple[LossEntry, Space]:
    """Return a study entry and its search space (training numbers first, then the loss's own).

    ``training`` is the space that the study searches for every loss; an entry may override its dimensions.

    Raises:
        StudyFileError: with the key, the rule, the value and the cure.
    """
    _check_name(name)
    try:
        given = _mapping(given)
        entry, values, beside = _read(name, given)
        known, searchable = {*entry.hyperparameters, *entry.options}, training_dimensions()
        for key in beside:
            if key not in searchable:
                rule, cure = f"unknown key {key!r} beside {entry.form}", did_you_mean(key, _beside(entry, searchable))
                raise UnknownNameError(rule, cure=cure, place=key)
        values = {**beside, **values}
        values = by_name(values, searchable | entry.hyperparameters | entry.options)
        for key in training:
            if key in known:
                cure = f"fix the optimiser's as training.{key}"
                rule = f"`search.space.{key}` is the optimiser's, and this loss has a {key} of its own"
                raise InvalidValueError(rule, cure=cure)
        of_training = {key: value for key, value in values.items() if key in searchable and key not in known}
        own = {key: value for key, value in values.items() if key not in of_training}
        of_loss = loss_space(entry, own, beside=searchable)
        for key in HEAD_KEYS & of_training.keys():
            if not owns_weights(entry, of_loss):
                rule = "this loss has no weights of its own"
                raise InvalidValueError(rule, value=key, cure="leave it out", place=key)
        space = {**training, **training_space(of_training, base), **of_loss}
    except MLCompareError as error:
        place = f"losses.{name}" + (f".{error.place}" if error.place else "")
        raise StudyFileError(error.rule, value=error.value, cure=error.cure, place=place) from None
    alone = list(_outside_sums(entry))
    if alone:
        cure = f"add it to a sum: {{sum: [{{loss: softmax}}, {{loss: {alone[0]}}}]}}"
        raise StudyFileError("this term means nothing alone", value=alone[0], cure=cure, place=f"losses.{name}")
    return entry, space


def named_in(name: str, given: Any) -> frozenset[str]:
    """Return what a readable entry of a study file says something of, by the names that its space has.

    >>> sorted(named_in("cosface", {"s": {"low": 4, "high": 64}, "lr": 0.01}))
    ['lr', 'scale']
    """
    entry, values, beside = _read(name, _mapping(given))
    return frozenset(by_name({**beside, **values}, training_dimensions() | entry.hyperparameters | entry.options))


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


def _form(given: Mapping[str, Any]) -> str:
    return next((form for form in ("sum", "stages", *WRAPPERS) if form in given), "single")


Read = tuple[LossEntry, dict[str, Any], dict[str, Any]]  # entry, its numbers by flat name, what stands beside


def _read(name: str, given: Mapping[str, Any]) -> Read:
    form = _form(given)
    if form != "single":
        return _composed(name, given, form)
    values = dict(given)
    return LossEntry(name, "single", (Term(values.pop("loss", name)),)), values, {}


def _beside(entry: LossEntry, searchable: Mapping[str, Any]) -> list[str]:
    own = {} if entry.wrapper is None else {**entry.wrapper.hyperparameters, **entry.wrapper.options}
    return [*own, *searchable]


def _outside_sums(entry: LossEntry) -> Iterator[str]:
    """Yield the terms that stand elsewhere than in a sum."""
    for term in entry.terms:
        if isinstance(term.loss, LossEntry):
            yield from _outside_sums(term.loss)
        elif entry.form != "sum" and get_spec(term.loss).term:
            yield term.loss


def _composed(name: str, given: Mapping[str, Any], form: str) -> Read:
    beside = {key: value for key, value in given.items() if key != form}
    wrapper = WRAPPERS.usable(form) if form not in ("sum", "stages") else None
    items = given[form] if wrapper is None else [given[form]]
    if not isinstance(items, list) or (wrapper is None and len(items) < 2):
        raise InvalidValueError(f"`{form}` must list two losses or more", value=repr(items)[:80], place=form)
    places = [f"{form}[{number}]" for number in range(len(items))] if wrapper is None else [form]
    terms, parts = [], []
    for item, place in zip(items, places):
        term, part = _term(item, form, place)
        terms.append(term)
        parts.append(part)
    if wrapper is not None:
        known = {**wrapper.hyperparameters, **wrapper.options}
        beside = by_name(beside, known)
        parts, places = [{key: beside.pop(key) for key in known if key in beside}, *parts], ["", *places]
    entry, values = LossEntry(name, form, tuple(terms)), {}
    layout = entry.layout
    flat = {(slot.term, slot.name): key for key, slot in layout.items()}
    for number, (part, place) in enumerate(zip(parts, places)):
        own = {slot.name: slot.declaration for slot in layout.values() if slot.term == number}
        try:
            part = by_name(part, own)
        except InvalidValueError as error:
            raise _placed(error, place) from None
        for key, value in part.items():
            if (number, key) not in flat:
                cure = did_you_mean(key, own)
                raise UnknownNameError(f"unknown hyperparameter {key!r}", cure=cure, place=f"{place}.{key}")
            values[flat[number, key]] = value
    return entry, values, beside


def _term(item: Any, form: str, place: str) -> tuple[Term, dict[str, Any]]:
    """Return a term, a loss or an entry of its own, and what its item says of its numbers."""
    inside = _form(item) if isinstance(item, Mapping) else "single"
    if not isinstance(item, Mapping) or (inside == "single" and "loss" not in item):
        raise InvalidValueError("must name a loss", value=repr(item)[:80], cure="write {loss: softmax}", place=place)
    part = dict(item)
    share = part.pop("share", 1.0) if form == "stages" else 1.0
    if not isinstance(share, int | float) or isinstance(share, bool) or not 0 < share <= 1:
        raise InvalidValueError("`0 < share <= 1` must hold", value=f"share={share!r}", place=f"{place}.share")
    if inside == "single":
        loss = part.pop("loss")
        return Term(loss, float(share)), part
    if inside == "stages":
        cure = f"write {{stages: [{{{form}: …}}, …]}}"
        raise InvalidValueError("stages stand outermost", value=f"them in `{form}`", cure=cure, place=f"{place}.stages")
    try:
        entry, values, beside = _composed(inside, part, inside)
    except MLCompareError as error:
        raise _placed(error, place) from None
    named = "_".join(term.loss if isinstance(term.loss, str) else term.loss.name for term in entry.terms)
    return Term(LossEntry(f"{inside}_{named}", inside, entry.terms), float(share)), {**beside, **values}


def _placed(error: MLCompareError, place: str) -> MLCompareError:
    where = ".".join(part for part in (place, error.place) if part)
    return type(error)(error.rule, value=error.value, cure=error.cure, place=where)
