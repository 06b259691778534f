"""The register of encoders: images or features → embeddings ``(B, D)``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from mlcompare.errors import InvalidValueError, UnknownNameError, did_you_mean

__all__ = [
    "EncoderSpec",
    "checked_whole",
    "create_encoder",
    "get_encoder_spec",
    "list_encoders",
    "register_encoder",
    "register_encoder_family",
]


@dataclass(frozen=True)
class EncoderSpec:
    """A registered encoder: ``options`` are its keyword arguments with their defaults.

    ``embedding_dim`` is its usual D; ``batched`` says whether a population of them trains under ``torch.func.vmap``.
    """

    name: str
    factory: Callable[..., nn.Module]
    options: dict[str, Any]
    takes: str
    doc: str
    embedding_dim: int = 64
    batched: bool = True


_encoders: dict[str, EncoderSpec] = {}
_families: dict[str, EncoderSpec] = {}
CONTEXT = ("input_shape", "embedding_dim", "model")


def register_encoder(name: str, *, takes: str, embedding_dim: int = 64) -> Callable:
    """File an encoder under ``name``; ``takes`` is ``images``, ``features`` or ``any``.

    The factory is called as ``factory(input_shape, embedding_dim, **options)``. It returns an ``nn.Sequential``; where
    the last module is the linear layer to D, a frozen encoder's features are what enters it.
    """

    def decorate(factory: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
        _encoders[name] = _spec(name, factory, takes, embedding_dim)
        return factory

    return decorate


def register_encoder_family(prefix: str, *, takes: str) -> Callable:
    """File all models of another library under ``prefix:<model>``; they train one at a time, not as a population.

    The factory is called as ``factory(model, input_shape, embedding_dim, **options)``.
    """

    def decorate(factory: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
        _families[prefix] = _spec(prefix, factory, takes, batched=False)
        return factory

    return decorate


def _spec(name: str, factory: Callable[..., nn.Module], takes: str, dim: int = 64, batched: bool = True) -> EncoderSpec:
    parameters = inspect.signature(factory).parameters
    options = {key: p.default for key, p in parameters.items() if key not in CONTEXT}
    return EncoderSpec(name, factory, options, takes, factory.__doc__ or "", dim, batched)


def get_encoder_spec(name: str) -> EncoderSpec:
    """Return the record of an encoder, or of ``family:model``.

    Raises:
        UnknownNameError: no such encoder; the message suggests the nearest names.

    >>> get_encoder_spec("lenetpp").embedding_dim, get_encoder_spec("timm:resnet18").batched
    (2, False)
    """
    prefix, colon, model = name.partition(":")
    if colon and model and prefix in _families:
        family = _families[prefix]
        return replace(family, name=name, factory=partial(family.factory, model))
    if name not in _encoders:
        known = [*_encoders, *(f"{family}:<model>" for family in _families)]
        raise UnknownNameError(f"unknown encoder {name!r}", cure=did_you_mean(name, known))
    return _encoders[name]


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
    return sorted(_encoders.values(), key=lambda spec: spec.name)


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
