"""The register of encoders: images or features → embeddings ``(B, D)``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mlcompare.errors import InvalidValueError, UnknownNameError, did_you_mean

__all__ = ["EncoderSpec", "create_encoder", "list_encoders", "register_encoder"]


@dataclass(frozen=True)
class EncoderSpec:
    """A registered encoder: ``options`` are its keyword arguments with their defaults."""

    name: str
    factory: Callable[..., nn.Module]
    options: dict[str, Any]
    takes: str
    doc: str


_encoders: dict[str, EncoderSpec] = {}
CONTEXT = ("input_shape", "embedding_dim")


def register_encoder(name: str, *, takes: str) -> Callable:
    """File an encoder under ``name``; ``takes`` is ``images``, ``features`` or ``any``.

    The factory is called as ``factory(input_shape, embedding_dim, **options)``.
    """

    def decorate(factory: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
        parameters = inspect.signature(factory).parameters
        options = {key: p.default for key, p in parameters.items() if key not in CONTEXT}
        _encoders[name] = EncoderSpec(name, factory, options, takes, factory.__doc__ or "")
        return factory

    return decorate


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
    if name not in _encoders:
        raise UnknownNameError(f"unknown encoder {name!r}", cure=did_you_mean(name, _encoders))
    spec = _encoders[name]
    for key in options:
        if key not in spec.options:
            raise UnknownNameError(f"unknown option {key!r}", cure=did_you_mean(key, spec.options), place=name)
    given = "images" if len(input_shape) == 3 else "features"
    if spec.takes not in ("any", given):
        raise InvalidValueError(f"this encoder takes {spec.takes}", value=f"{given} {tuple(input_shape)}", place=name)
    if embedding_dim < 1:
        raise InvalidValueError("`embedding_dim >= 1` must hold", value=f"embedding_dim={embedding_dim}", place=name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return spec.factory(tuple(input_shape), embedding_dim, **options)
