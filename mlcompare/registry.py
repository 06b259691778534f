"""The registry: what a loss declares once, beside its class, and how anyone finds and builds it.

A loss declares its :class:`Hyperparameter` s (numbers a study may tune) and :class:`Option` s (static choices) as class
attributes, and :func:`register_loss` files it under a name. Outside packages register through the entry-point group
``mlcompare.losses``; a plug-in that fails to import is listed as broken and raises only when it is used.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from mlcompare.errors import InvalidValueError, UnknownNameError, did_you_mean

__all__ = [
    "Hyperparameter",
    "LossSpec",
    "Option",
    "create_loss",
    "declared",
    "get_spec",
    "list_losses",
    "register",
    "register_loss",
]

ENTRY_POINT_GROUP = "mlcompare.losses"
FAMILIES = ("metric", "margin")
PML_PREFIX = "pml/"


@dataclass(frozen=True)
class Hyperparameter:
    """A number that may be tuned; inside a loss it is a 0-dim float64 buffer.

    Args:
        default: the paper's setting (trial 0 of every study).
        low, high: search range; ``None`` means that a study fixes it at ``default`` unless told otherwise.
        log: search on a logarithmic scale.
        integer: whole numbers only.
        minimum, maximum: the domain, inclusive: values outside it make no sense (as opposed to: are not searched).
        positive: the domain excludes 0 and below.
        symbol: the role in the field's notation: ``m``, ``s``, ``λ``, ``α``, …
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
        if self.low is not None and not self.low < self.high:
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


@dataclass(frozen=True)
class Option:
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
        if kind is not type(value) or (kind is int and value < 1):
            wanted = "a whole number, 1 or more" if kind is int else f"a {kind.__name__}"
            raise InvalidValueError(f"`{name}` must be {wanted}", value=f"{name}={value!r}")
        return value


@dataclass(frozen=True)
class LossSpec:
    """One registered loss: what :func:`list_losses` returns.

    ``family`` is ``metric`` or ``margin``; ``kind`` is finer (pair, triplet, proxy, softmax, margin, …); ``needs``
    names the context that :func:`create_loss` demands; ``published`` holds settings that papers report (enqueued as
    first trials); ``term`` marks losses that mean nothing alone; ``broken`` says why a plug-in can't be used.
    """

    name: str
    family: str
    kind: str
    reference: str
    factory: Callable[..., Any]
    hyperparameters: Mapping[str, Hyperparameter] = field(default_factory=dict)
    options: Mapping[str, Option] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    batched: bool = True
    stochastic: bool = False
    published: tuple[Mapping[str, float], ...] = ()
    term: bool = False
    aliases: tuple[str, ...] = ()
    source: str = "native"
    bibtex: str = ""
    doc: str = ""
    broken: str | None = None

    @property
    def summary(self) -> str:
        """The first line of the loss's docstring."""
        return self.doc.strip().splitlines()[0] if self.doc.strip() else ""

    @property
    def defaults(self) -> dict[str, float]:
        """Every hyperparameter at the paper's setting."""
        return {name: h.default for name, h in self.hyperparameters.items()}

    def create(self, *, num_classes=None, embedding_dim=None, class_counts=None, generator=None, **values):
        """Build the loss; see :func:`create_loss`."""
        if self.broken is not None:
            cure = "repair or uninstall the package that provides it" if self.source == "plugin" else None
            raise InvalidValueError(f"this loss can't be used: {self.broken}", cure=cure, place=self.name)
        known = {**self.hyperparameters, **self.options}
        for key, value in values.items():
            if key not in known:
                cure = did_you_mean(key, known)
                raise UnknownNameError(f"unknown hyperparameter {key!r}", cure=cure, place=self.name)
            try:
                known[key].check(key, value)
            except InvalidValueError as error:
                raise error.at(self.name) from None
        context = {"num_classes": num_classes, "embedding_dim": embedding_dim, "class_counts": class_counts}
        missing = [need for need in self.needs if context[need] is None]
        if missing:
            raise InvalidValueError(
                f"`{missing[0]}` is needed", value=f"{missing[0]}=None", cure=f"pass {missing[0]}=…", place=self.name
            )
        return self.factory(**context, generator=generator, **values)


_specs: dict[str, LossSpec] = {}
_aliases: dict[str, str] = {}
_discovered = False
_registering_source = "native"


def natives_registered() -> None:
    """Say that this package's own losses are all there: what comes after is a plug-in, or a user's script."""
    global _registering_source
    _registering_source = "plugin"


def declared(cls: type, kind: type) -> dict[str, Any]:
    """Return the ``kind`` declarations of a class body and its bases, base classes first."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        found.update({name: value for name, value in vars(base).items() if isinstance(value, kind)})
    return found


def register(spec: LossSpec) -> LossSpec:
    """File a finished spec. Raises :class:`InvalidValueError` for a name that is taken or a family that is unknown."""
    if spec.family not in FAMILIES:
        raise InvalidValueError("`family` must be metric or margin", value=f"family={spec.family!r}", place=spec.name)
    spec = replace(spec, source=_registering_source)
    for name in (spec.name, *spec.aliases):
        if name in _specs or name in _aliases:
            cure = "choose another name"
            raise InvalidValueError("a loss name is registered once", value=repr(name), cure=cure, place=spec.name)
    _specs[spec.name] = spec
    _aliases.update(dict.fromkeys(spec.aliases, spec.name))
    return spec


def register_loss(
    name: str,
    *,
    family: str,
    reference: str,
    kind: str | None = None,
    batched: bool = True,
    stochastic: bool = False,
    published: tuple[Mapping[str, float], ...] = (),
    term: bool = False,
    aliases: tuple[str, ...] = (),
    bibtex: str = "",
) -> Callable[[type], type]:
    """Class decorator that files a loss under ``name``; see :class:`LossSpec` for the fields.

    Raises:
        InvalidValueError: the name is taken, or ``family`` is not ``metric`` or ``margin``.
    """

    def decorate(cls: type) -> type:
        spec = LossSpec(
            name=name,
            family=family,
            kind=kind or getattr(cls, "kind", family),
            reference=reference,
            factory=cls,
            hyperparameters=MappingProxyType(dict(getattr(cls, "hyperparameters", {}))),
            options=MappingProxyType(dict(getattr(cls, "options", {}))),
            needs=tuple(getattr(cls, "needs", ())),
            batched=batched,
            stochastic=stochastic,
            published=tuple(published),
            term=term,
            aliases=tuple(aliases),
            bibtex=bibtex,
            doc=cls.__doc__ or "",
        )
        cls.spec = register(spec)
        return cls

    return decorate


def _discover() -> None:
    """Import the losses of this package, then those of plug-ins, once."""
    global _discovered
    if _discovered:
        return
    _discovered = True
    importlib.import_module(f"{__package__}.losses")
    for point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        _load_plugin(point)


def _load_plugin(point: importlib.metadata.EntryPoint) -> None:
    try:
        point.load()
    except Exception as error:  # whatever a plug-in raises: the rest of the registry must stay usable
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        if point.name not in _specs and point.name not in _aliases:
            register(
                LossSpec(
                    point.name, "metric", "plug-in", point.value, _unusable, source="plugin", broken=reason,
                    batched=False,
                )
            )  # fmt: skip


def _unusable(**_context):  # pragma: no cover - LossSpec.create raises first
    raise InvalidValueError("this loss can't be used")


def list_losses(family: str | None = None, *, source: str | None = None) -> list[LossSpec]:
    """Return the registered losses, sorted by name.

    Args:
        family: only ``metric`` or only ``margin``.
        source: ``native``, ``plugin``, or ``pml`` (every loss of pytorch-metric-learning, discovered there);
            by default the native ones and the plug-ins.

    Raises:
        InvalidValueError: ``family`` or ``source`` is none of these.

    >>> "cosface" in [spec.name for spec in list_losses(family="margin")]
    True
    """
    _discover()
    if family not in (None, *FAMILIES):
        raise InvalidValueError("`family` must be metric or margin", value=f"family={family!r}")
    if source not in (None, "native", "plugin", "pml"):
        raise InvalidValueError("`source` must be native, plugin or pml", value=f"source={source!r}")
    specs = _pml().specs() if source == "pml" else [s for s in _specs.values() if source in (None, s.source)]
    return sorted((s for s in specs if family in (None, s.family)), key=lambda s: s.name)


def _pml():
    return importlib.import_module(f"{__package__}.losses.pml")


def get_spec(name: str) -> LossSpec:
    """Return the spec registered under ``name`` (or one of its aliases).

    Raises:
        UnknownNameError: nothing is registered under it; the message suggests the nearest names.
    """
    name = str(name)
    if name.startswith(PML_PREFIX):
        return _pml().spec(name)
    if _aliases.get(name, name) not in _specs:  # a loss that is known needs no discovery: sums register during import
        _discover()
    found = _specs.get(_aliases.get(name, name))
    if found is None:
        raise UnknownNameError(f"unknown loss {name!r}", cure=did_you_mean(name, [*_specs, *_aliases]))
    return found


def create_loss(
    name: str, *, num_classes=None, embedding_dim=None, class_counts=None, generator=None, **hyperparameters
):
    """Build a loss by name.

    Args:
        name: a registered name, or ``pml/<ClassName>``.
        num_classes, embedding_dim: sizes; accepted for every loss and demanded by those that own weights.
        class_counts: ``(C,)`` training samples of each class; ``None`` means uniform.
        generator: the ``torch.Generator`` that initialises the loss's own weights.
        **hyperparameters: values of hyperparameters and options; the rest stay at the paper's setting.

    Returns:
        A ``torch.nn.Module``: ``loss(embeddings (B, D), labels (B,)) → scalar``.

    Raises:
        UnknownNameError: the loss or a hyperparameter is unknown.
        InvalidValueError: a value lies outside its domain, or a size that the loss needs is missing.

    >>> import torch
    >>> loss = create_loss("cosface", num_classes=3, embedding_dim=2, margin=0.2)
    >>> loss(torch.eye(2), torch.tensor([0, 1])).shape
    torch.Size([])
    """
    context = {"num_classes": num_classes, "embedding_dim": embedding_dim, "class_counts": class_counts}
    return get_spec(name).create(**context, generator=generator, **hyperparameters)
