"""All registered losses: filed, discovered, listed, found and built by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mlcompare.errors import InvalidValueError
from mlcompare.registry.registry import NATIVE, PLUGIN, PML, Registry
from mlcompare.registry.spec import LossSpec

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Generator, Tensor

    from mlcompare.losses.base import Loss

__all__ = [
    "FIRST_COMPARISON", "IDEAS", "LOSSES", "PML_PREFIX", "WRAPPERS", "create_loss", "get_spec", "list_losses",
    "register", "register_loss", "register_wrapper",
]  # fmt: skip

FAMILIES = ("metric", "margin")
PML_PREFIX = "pml/"
LOSSES = Registry("loss", "losses", LossSpec, homes=["mlcompare.losses"])
WRAPPERS = Registry("wrapper", "wrappers", LossSpec, homes=["mlcompare.losses"])
IDEAS: Mapping[str, str] = MappingProxyType(
    {
        "softmax": "softmax and normalisation",
        "margin": "margins",
        "proxy": "proxies",
        "pair": "pairs",
        "triplet": "triplets",
        "list": "lists",
        "long_tail": "long tails: told each class's training samples",
        "noise": "wrong labels",
        "labels": "hierarchies and sets of labels",
        "sum": "sums that papers named",
        "term": "terms, for a sum with any loss",
        "wrapper": "wrappers, around a loss or a sum",
    }
)
FIRST_COMPARISON = (  # both families, and the ideas that the others vary; in the order in which they join a small study
    "softmax", "trihard", "arcface", "multi_similarity", "cosface", "contrastive", "normface", "margin_based", "center",
    "triplet",
)  # fmt: skip


def register(spec: LossSpec, *, replace: bool = False) -> LossSpec:
    """File a finished spec.

    Raises:
        InvalidValueError: the name is taken, or the family is unknown.
    """
    if spec.family not in FAMILIES:
        raise InvalidValueError("`family` must be metric or margin", value=f"family={spec.family!r}", place=spec.name)
    return LOSSES.register(spec, replace=replace)


def register_loss(
    name: str,
    *,
    family: str,
    reference: str,
    group: str | None = None,
    batched: bool = True,
    stochastic: bool = False,
    published: tuple[Mapping[str, float], ...] = (),
    term: bool = False,
    aliases: tuple[str, ...] = (),
    bibtex: str = "",
    replace: bool = False,
) -> Callable[[type[Any]], type[Any]]:
    """Class decorator that files a loss under ``name``; see :class:`LossSpec` for the fields.

    With ``replace`` it takes the place of a loss of that name, as in a notebook cell that is run again.

    Raises:
        InvalidValueError: the name is taken, or ``family`` is not ``metric`` or ``margin``.
    """

    def decorate(cls: type[Any]) -> type[Any]:
        own_group: str = getattr(cls, "group", family)
        spec = LossSpec(
            name=name,
            family=family,
            group=group or own_group,
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
        cls.spec = register(spec, replace=replace)
        return cls

    return decorate


def register_wrapper(
    name: str, *, reference: str, bibtex: str = "", replace: bool = False
) -> Callable[[type[Any]], type[Any]]:
    """Class decorator that files a :class:`~mlcompare.losses.wrapper.Wrapper` under ``name``, a key of study entries.

    Raises:
        InvalidValueError: the name is taken, by a wrapper or by another key of an entry.
    """

    def decorate(cls: type[Any]) -> type[Any]:
        if name in ("loss", "single", "sum", "stages"):
            rule, cure = "a wrapper's name is a key of its own in a study entry", "choose another"
            raise InvalidValueError(rule, value=repr(name), cure=cure, place=name)
        cls.spec = LossSpec(
            name=name,
            family="",
            group="wrapper",
            reference=reference,
            factory=cls,
            hyperparameters=MappingProxyType(dict(cls.hyperparameters)),
            options=MappingProxyType(dict(cls.options)),
            bibtex=bibtex,
            doc=cls.__doc__ or "",
        )
        WRAPPERS.register(cls.spec, replace=replace)
        return cls

    return decorate


def list_losses(family: str | None = None, *, provider: str | None = None) -> list[LossSpec]:
    """Return the registered losses, sorted by name.

    Args:
        family: only ``metric`` or only ``margin``.
        provider: ``native``, ``plugin``, or ``pml`` (every loss of pytorch-metric-learning, discovered there);
            by default the native ones and the plug-ins.

    Raises:
        InvalidValueError: ``family`` or ``provider`` is none of these.

    >>> "cosface" in [spec.name for spec in list_losses(family="margin")]
    True
    """
    if family not in (None, *FAMILIES):
        raise InvalidValueError("`family` must be metric or margin", value=f"family={family!r}")
    if provider not in (None, NATIVE, PLUGIN, PML):
        raise InvalidValueError("`provider` must be native, plugin or pml", value=f"provider={provider!r}")
    specs = _pml().specs() if provider == PML else LOSSES.records(provider=provider)
    return sorted((s for s in specs if family in (None, s.family)), key=lambda s: s.name)


def _pml() -> Any:
    return importlib.import_module("mlcompare.losses.pml")


def get_spec(name: str) -> LossSpec:
    """Return the spec registered under ``name`` (or one of its aliases).

    Raises:
        UnknownNameError: nothing is registered under it; the message suggests the nearest names.
        InvalidValueError: it is a wrapper's.
    """
    name = str(name)
    if name.startswith(PML_PREFIX):
        return _pml().spec(name)
    if LOSSES.find(name) is None and name in WRAPPERS:
        cure = f"write {{{name}: {{loss: …}}}} in a study file"
        raise InvalidValueError("a wrapper goes around a loss and is none itself", value=repr(name), cure=cure)
    return LOSSES[name]


def create_loss(
    name: str,
    *,
    num_classes: int | None = None,
    embedding_dim: int | None = None,
    class_counts: Tensor | npt.ArrayLike | None = None,
    generator: Generator | None = None,
    **hyperparameters: Any,
) -> Loss:
    """Build a loss by name.

    Args:
        name: a registered name, or ``pml/<ClassName>``.
        num_classes, embedding_dim: sizes; accepted for every loss and demanded by those that own weights.
        class_counts: ``(C,)`` training samples of each class; ``None`` means uniform.
        generator: the ``torch.Generator`` that initialises the loss's own weights.
        **hyperparameters: values of hyperparameters and options, by name (``margin``) or symbol (``m``); the rest stay
            at the paper's setting.

    Returns:
        A ``torch.nn.Module``: ``loss(embeddings (B, D), labels (B,)) → scalar``; one whose ``label_form`` is ``levels``
        or ``sets`` takes labels ``(B, L)`` too.

    Raises:
        UnknownNameError: the loss or a hyperparameter is unknown.
        InvalidValueError: a value lies outside its domain, or a size that the loss needs is missing.

    >>> import torch
    >>> loss = create_loss("cosface", num_classes=3, embedding_dim=2, margin=0.2)
    >>> loss(torch.eye(2), torch.tensor([0, 1])).shape
    torch.Size([])
    """
    return get_spec(name).create(
        num_classes=num_classes,
        embedding_dim=embedding_dim,
        class_counts=class_counts,
        generator=generator,
        **hyperparameters,
    )
