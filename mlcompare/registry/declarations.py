"""What a loss declares beside its class: the numbers a study may tune, and the static choices."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlcompare.errors import InvalidValueError

__all__ = ["Hyperparameter", "HyperparameterSpec", "Option", "OptionSpec", "Published", "by_name", "declared"]


@dataclass(frozen=True)
class HyperparameterSpec:
    """A number that may be tuned; inside a loss it is a 0-dim float64 buffer.

    Args:
        default: the paper's setting (trial 0 of every study).
        low, high: search range; ``None`` means that a study fixes it at ``default`` unless told otherwise.
        log: search on a logarithmic scale.
        integer: whole numbers only.
        minimum, maximum: the domain, inclusive: values outside it make no sense (as opposed to: are not searched).
        positive: the domain excludes 0 and below.
        symbol: the role in the field's notation: ``m``, ``s``, ``λ``, ``α``, …; another name of it (:func:`by_name`).
        unit: such as ``rad`` or ``cosine``.
        description: one line for listings.

    >>> Hyperparameter(30.0, low=4.0, high=128.0, log=True, symbol="s").check("scale", 16)
    16.0
    """

    default: float
    low: float | None = None
    high: float | None = None
    log: bool = False
    integer: bool = False
    minimum: float | None = None
    maximum: float | None = None
    positive: bool = False
    symbol: str | None = None
    unit: str | None = None
    description: str = ""

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None):
            raise InvalidValueError("`low` and `high` come together", value=f"low={self.low}, high={self.high}")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise InvalidValueError("`low < high` must hold", value=f"low={self.low}, high={self.high}")
        if self.log and self.low is not None and self.low <= 0:
            raise InvalidValueError("a logarithmic range needs `low > 0`", value=f"low={self.low}")
        self.check("default", self.default)

    @property
    def searched(self) -> bool:
        """Whether a study searches it when the study file says nothing."""
        return self.low is not None

    def check(self, name: str, value: object) -> float:
        """Return ``value`` as a float, or raise :class:`InvalidValueError` where it lies outside the domain."""
        typical = f"typical values are {self.low:g} to {self.high:g}" if self.searched else f"default {self.default:g}"
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise InvalidValueError(f"`{name}` must be a number", value=f"{name}={value!r}", cure=typical)
        number = float(value)
        rules = [
            (math.isfinite(number), f"`{name}` must be finite"),
            (not self.positive or number > 0, f"`{name} > 0` must hold"),
            (self.minimum is None or number >= self.minimum, f"`{name} >= {self.minimum}` must hold"),
            (self.maximum is None or number <= self.maximum, f"`{name} <= {self.maximum}` must hold"),
            (not self.integer or number.is_integer(), f"`{name}` must be a whole number"),
        ]
        for holds, rule in rules:
            if not holds:
                raise InvalidValueError(rule, value=f"{name}={value!r}", cure=typical)
        return number


class Published(dict[str, float]):
    """A setting that somebody reports, and who; apart from ``reference`` a dict.

    >>> setting = Published("Deng et al. 2019", margin=0.5, scale=64.0)
    >>> setting, setting.reference
    ({'margin': 0.5, 'scale': 64.0}, 'Deng et al. 2019')
    """

    def __init__(self, reference: str, /, **values: float) -> None:
        super().__init__(values)
        self.reference = reference


@dataclass(frozen=True)
class OptionSpec:
    """A static choice of a loss (a sampling rule, sub-centers K, …): it shapes the program, so populations group by it.

    Args:
        default: the paper's choice.
        choices: the allowed values; ``None`` allows any value of the default's type (integers: 1 and up), and any
            value at all where the default is ``None``.
        symbol, description: for listings.

    >>> Option("all", choices=("all", "hard")).check("sampling", "hard")
    'hard'
    """

    default: Any
    choices: tuple | None = None
    symbol: str | None = None
    description: str = ""

    def check(self, name: str, value: object) -> Any:
        """Return ``value``, or raise :class:`InvalidValueError` where it is not allowed."""
        if self.choices is not None:
            same = [c for c in self.choices if c == value and isinstance(c, bool) == isinstance(value, bool)]
            if not same:
                allowed = ", ".join(map(str, self.choices))
                raise InvalidValueError(f"`{name}` must be one of {allowed}", value=f"{name}={value!r}")
            return same[0]
        if self.default is None:
            return value
        kind = type(self.default)
        if kind is not type(value) or (isinstance(value, int) and kind is int and value < 1):
            wanted = "a whole number, 1 or more" if kind is int else f"a {kind.__name__}"
            raise InvalidValueError(f"`{name}` must be {wanted}", value=f"{name}={value!r}")
        return value


def Hyperparameter(
    default: float, *, low: float | None = None, high: float | None = None, log: bool = False, integer: bool = False,
    minimum: float | None = None, maximum: float | None = None, positive: bool = False, symbol: str | None = None,
    unit: str | None = None, description: str = "",
) -> Any:  # fmt: skip
    """Declare a number that may be tuned in the body of a loss: ``margin: float = Hyperparameter(0.5, low=0.0, …)``.

    See :class:`HyperparameterSpec`, which is what it returns, for the arguments. Like ``dataclasses.field``, it is
    typed so that the attribute may say what it is inside a loss: a number.
    """
    return HyperparameterSpec(default, low, high, log, integer, minimum, maximum, positive, symbol, unit, description)


def Option(
    default: Any, *, choices: tuple[Any, ...] | None = None, symbol: str | None = None, description: str = ""
) -> Any:
    """Declare a static choice in the body of a loss: ``easy_margin: bool = Option(False, choices=(True, False))``.

    See :class:`OptionSpec`, which is what it returns, for the arguments.
    """
    return OptionSpec(default, choices, symbol, description)


def declared(cls: type, kind: type) -> dict[str, Any]:
    """Return the ``kind`` declarations of a class body and its bases, base classes first."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        found.update({name: value for name, value in vars(base).items() if isinstance(value, kind)})
    return found


def by_name(given: Mapping[str, Any], known: Mapping[str, HyperparameterSpec | OptionSpec]) -> dict[str, Any]:
    """Return ``given`` by names, where a symbol of the field's notation may stand for a name.

    A name comes before a symbol that is written alike; what is neither stays as it is.

    Raises:
        InvalidValueError: a symbol that several share, or a number given twice.

    >>> by_name({"m": 0.3, "lr": 0.1}, {"margin": Hyperparameter(0.5, symbol="m")})
    {'margin': 0.3, 'lr': 0.1}
    """
    found: dict[str, Any] = {}
    for key, value in given.items():
        names = [key] if key in known else [name for name, it in known.items() if it.symbol == key] or [key]
        if len(names) > 1:
            raise InvalidValueError(f"`{key}` must stand for one number", cure=f"write {' or '.join(names)}", place=key)
        if names[0] in found:
            cure = f"write {names[0]} once, by its name or as {known[names[0]].symbol}"
            raise InvalidValueError(f"`{names[0]}` must be given once", value="it twice", cure=cure, place=key)
        found[names[0]] = value
    return found
