"""Search spaces: what is fixed, what is searched, and between which bounds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mlcompare.errors import InvalidValueError, UnknownNameError, did_you_mean
from mlcompare.losses.compose import LossEntry
from mlcompare.registry import HyperparameterSpec, OptionSpec, by_name

__all__ = ["Choice", "Range", "Space", "loss_space", "overridden", "registered"]


@dataclass(frozen=True)
class Range:
    """A number between ``low`` and ``high``; trial 0 takes ``default``.

    ``minimum``, ``maximum`` and ``positive`` bound what makes sense, as the declaration has it: no wider range may be
    suggested.
    """

    low: float
    high: float
    default: float
    log: bool = False
    integer: bool = False
    minimum: float | None = None
    maximum: float | None = None
    positive: bool = False

    @classmethod
    def of(cls, declaration: HyperparameterSpec, low: float, high: float, default: float, log: bool) -> Range:
        """Return a range of a declared number."""
        domain = declaration.minimum, declaration.maximum, declaration.positive
        return cls(low, high, default, log, declaration.integer, *domain)

    def contains(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high


@dataclass(frozen=True)
class Choice:
    """One of several values; trial 0 takes ``default``."""

    values: tuple[Any, ...]
    default: Any

    def contains(self, value: object) -> bool:
        return value in self.values


Space = dict[str, Range | Choice | Any]  # anything else is a fixed value


def loss_space(entry: LossEntry, given: Mapping[str, Any], *, beside: Iterable[str] = ()) -> Space:
    """Return the space of a loss: registered ranges, overridden by what the study file gives.

    ``given`` maps a name (or its symbol) to a fixed number, to ``{low, high, log}``, or to a list of choices.
    ``beside`` are names that might have been meant, too, where one is unknown.

    Raises:
        UnknownNameError: the loss has no such hyperparameter.
        InvalidValueError: a value lies outside its domain, or ``low >= high``.
    """
    known: dict[str, HyperparameterSpec | OptionSpec] = {**entry.hyperparameters, **entry.options}
    given = by_name(given, known)
    for name in given:
        if name not in known:
            raise UnknownNameError(
                f"unknown hyperparameter {name!r}", cure=did_you_mean(name, [*known, *beside]), place=name
            )
    space: Space = {}
    for name, declaration in known.items():
        value = given.get(name)
        space[name] = registered(declaration) if value is None else overridden(name, declaration, value)
    return space


def registered(declaration: HyperparameterSpec | OptionSpec) -> Any:
    """Return what a study that says nothing does with a declared number or choice: a range, or its default."""
    if isinstance(declaration, OptionSpec) or declaration.low is None or declaration.high is None:
        return declaration.default
    low, high = declaration.low, declaration.high
    return Range.of(declaration, low, high, min(max(declaration.default, low), high), declaration.log)


def overridden(name: str, declaration: HyperparameterSpec | OptionSpec, value: Any, default: Any = None) -> Any:
    """Return what a study file says of a declared number or choice: a fixed value, a range or a list of choices.

    ``default`` is trial 0's where the file's range doesn't say; the declaration's by default.
    """
    if isinstance(value, list | tuple):
        return _choice(name, declaration, value)
    if isinstance(declaration, OptionSpec) or not isinstance(value, Mapping):
        return _checked(name, declaration, value)
    unknown = [key for key in value if key not in ("low", "high", "log", "default")]
    if unknown:
        cure = did_you_mean(unknown[0], ("low", "high", "log", "default"))
        raise UnknownNameError(f"unknown key {unknown[0]!r}", cure=cure, place=f"{name}.{unknown[0]}")
    return _range(name, declaration, value, default)


def _range(name: str, declaration: HyperparameterSpec, value: Mapping[str, Any], default: float | None) -> Range:
    low, high = value.get("low", declaration.low), value.get("high", declaration.high)
    for key, bound in (("low", low), ("high", high)):
        if bound is None:
            cure = f"give {name}.low and {name}.high"
            raise InvalidValueError(f"`{key}` is needed", value="none", cure=cure, place=f"{name}.{key}")
        declaration.check(key, bound) if _is_number(bound) else _not_a_number(name, key, bound)
    if not low < high:
        raise InvalidValueError("must be below high", value=f"low={low}, high={high}", place=f"{name}.low")
    log = value.get("log", declaration.log)
    if not isinstance(log, bool):
        raise InvalidValueError("must be true or false", value=repr(log), place=f"{name}.log")
    if log and low <= 0:
        cure = "raise low, or leave out log"
        raise InvalidValueError("a logarithmic range needs low > 0", value=f"low={low}", cure=cure, place=f"{name}.low")
    if "default" in value and not _is_number(value["default"]):
        _not_a_number(name, "default", value["default"])
    first = value.get("default", declaration.default if default is None else default)
    if "default" not in value and not low <= first <= high:
        first = math.sqrt(low * high) if log and default is not None else min(max(first, low), high)
    if not low <= first <= high:
        got = f"default={first}, low={low}, high={high}"
        raise InvalidValueError("must lie between low and high", value=got, place=f"{name}.default")
    return Range.of(declaration, float(low), float(high), float(first), log)


def _checked(name: str, declaration: HyperparameterSpec | OptionSpec, value: Any) -> Any:
    try:
        return declaration.check(name, value)
    except InvalidValueError as error:
        raise error.at(name) from None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _not_a_number(name: str, key: str, value: object) -> None:
    raise InvalidValueError("must be a number", value=repr(value), place=f"{name}.{key}")


def _choice(name: str, declaration: HyperparameterSpec | OptionSpec, values: Any) -> Choice:
    if len(values) == 0:
        raise InvalidValueError("a list of choices must not be empty", value="[]", place=name)
    checked = tuple(_checked(name, declaration, value) for value in values)
    if len(set(checked)) < len(checked):
        raise InvalidValueError("a choice stands once", value=str(list(values)), place=name)
    default = declaration.default if declaration.default in checked else checked[0]
    return Choice(checked, default)
