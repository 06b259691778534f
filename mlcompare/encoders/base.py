"""The register of encoders: images or features → embeddings ``(B, D)``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import torch
from torch import nn

from mlcompare.errors import InvalidValueError, UnknownNameError, did_you_mean
from mlcompare.registry import Record, Registry, options_of

__all__ = [
    "ENCODERS",
    "EncoderSpec",
    "checked_whole",
    "create_encoder",
    "get_encoder_spec",
    "list_encoders",
    "register_encoder",
    "register_encoder_family",
]


@dataclass(frozen=True, kw_only=True)
class EncoderSpec(Record):
    """A registered encoder: ``options`` are its keyword arguments with their defaults.

    ``takes`` is ``images``, ``features`` or ``any``; ``embedding_dim`` is its usual D; ``batched`` says whether a
    population of them trains under ``torch.func.vmap``.
    """

    takes: str = "any"
    embedding_dim: int = 64
    batched: bool = True


ENCODERS = Registry("encoder", "encoders", EncoderSpec, homes=["mlcompare.encoders"])
FAMILIES = Registry("encoder family", "encoder_families", EncoderSpec, homes=["mlcompare.encoders"])
TAKES = ("images", "features", "any")
CONTEXT = ("input_shape", "embedding_dim", "model")
Factory = TypeVar("Factory", bound=Callable[..., nn.Module])


def register_encoder(
    name: str, *, takes: str, embedding_dim: int = 64, batched: bool = True, reference: str = "", replace: bool = False
) -> Callable[[Factory], Factory]:
    """File an encoder under ``name``: a function, or an ``nn.Module`` class.

    It is called as ``factory(input_shape, embedding_dim, **options)``. Where it returns an ``nn.Sequential`` that ends
    with the linear layer to D, a frozen encoder's features are what enters that layer.

    Args:
        takes: ``images``, ``features`` or ``any``.
        embedding_dim: its usual D.
        batched: False where a population can't run it under ``torch.func.vmap``.
        replace: take the place of an encoder of that name, as in a notebook cell that is run again.

    Raises:
        InvalidValueError: the name is taken, or ``takes`` is none of these.
    """

    def decorate(factory: Factory) -> Factory:
        spec = _spec(name, factory, takes, embedding_dim, batched, reference)
        ENCODERS.register(spec, replace=replace)
        return factory

    return decorate


def register_encoder_family(prefix: str, *, takes: str, reference: str = "") -> Callable[[Factory], Factory]:
    """File all models of another library under ``prefix:<model>``; they train one at a time, not as a population.

    The factory is called as ``factory(model, input_shape, embedding_dim, **options)``.
    """

    def decorate(factory: Factory) -> Factory:
        FAMILIES.register(_spec(prefix, factory, takes, 64, False, reference))
        return factory

    return decorate


def _spec(
    name: str, factory: Callable[..., nn.Module], takes: str, dim: int, batched: bool, reference: str
) -> EncoderSpec:
    if takes not in TAKES:
        raise InvalidValueError(f"`takes` must be one of {', '.join(TAKES)}", value=f"takes={takes!r}", place=name)
    return EncoderSpec(
        name=name, factory=factory, options=options_of(factory, without=CONTEXT), takes=takes,
        doc=factory.__doc__ or "", embedding_dim=dim, batched=batched, reference=reference,
    )  # fmt: skip


def get_encoder_spec(name: str) -> EncoderSpec:
    """Return the record of an encoder, or of ``family:model``.

    Raises:
        UnknownNameError: no such encoder; the message suggests the nearest names.

    >>> get_encoder_spec("lenetpp").embedding_dim, get_encoder_spec("timm:resnet18").batched
    (2, False)
    """
    prefix, colon, model = str(name).partition(":")
    if colon and model and prefix in FAMILIES:
        family = FAMILIES[prefix]
        return replace(family, name=name, factory=partial(family.factory, model))
    if name not in ENCODERS:
        raise ENCODERS.unknown(name, more=[f"{family}:<model>" for family in FAMILIES])
    return ENCODERS[name]


def checked_whole(place: str, *, low: int = 1, **values: Any) -> None:
    """Refuse options that are no whole numbers from ``low`` on.

    Raises:
        InvalidValueError: with the option's name and value.

    >>> checked_whole("conv4", width=16)
    """
    for key, value in values.items():
        if type(value) is not int or value < low:
            rule = f"`{key}` must be a whole number, {low} or more"
            raise InvalidValueError(rule, value=f"{key}={value!r}", place=place)


def list_encoders() -> list[EncoderSpec]:
    """Return the registered encoders, sorted by name.

    >>> "conv4" in [spec.name for spec in list_encoders() if spec.takes == "images"]
    True
    """
    return ENCODERS.records()


def create_encoder(
    name: str, *, input_shape: tuple[int, ...], embedding_dim: int, seed: int = 0, **options: Any
) -> nn.Module:
    """Build an encoder with weights drawn from ``seed``.

    Args:
        input_shape: ``(C, H, W)`` of images or ``(F,)`` of features.
        embedding_dim: D.

    Raises:
        UnknownNameError: no such encoder or option.
        InvalidValueError: it does not take such input, or a value is out of its range.

    >>> create_encoder("linear", input_shape=(8,), embedding_dim=2)(torch.zeros(3, 8)).shape
    torch.Size([3, 2])
    """
    spec = get_encoder_spec(name)
    spec.usable("encoder")
    for key in options:
        if key not in spec.options:
            raise UnknownNameError(f"unknown option {key!r}", cure=did_you_mean(key, spec.options), place=name)
    given = "images" if len(input_shape) == 3 else "features"
    if spec.takes not in ("any", given):
        raise InvalidValueError(f"this encoder takes {spec.takes}", value=f"{given} {tuple(input_shape)}", place=name)
    if embedding_dim < 1:
        raise InvalidValueError("`embedding_dim >= 1` must hold", value=f"embedding_dim={embedding_dim}", place=name)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # weights are drawn on the CPU; seeding every device takes 1 ms
        return spec.factory(tuple(input_shape), embedding_dim, **options)
