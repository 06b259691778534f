"""All registered losses: filed, discovered, listed, found and built by name."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from mlcompare.errors import InvalidValueError, UnknownNameError, did_you_mean
from mlcompare.registry.spec import LossSpec

__all__ = ["PML_PREFIX", "create_loss", "get_spec", "list_losses", "natives_registered", "register", "register_loss"]

ENTRY_POINT_GROUP = "mlcompare.losses"
FAMILIES = ("metric", "margin")
PML_PREFIX = "pml/"

_specs: dict[str, LossSpec] = {}
_aliases: dict[str, str] = {}
_discovered = False
_registering_source = "native"


def natives_registered() -> None:
    """Say that this package's own losses are all there: what comes after is a plug-in, or a user's script."""
    global _registering_source
    _registering_source = "plugin"


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
    importlib.import_module("mlcompare.losses")
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
    return importlib.import_module("mlcompare.losses.pml")


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
