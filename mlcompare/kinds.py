"""Every kind of thing that a study names, with its registry."""

from __future__ import annotations

import importlib
from typing import Any

from mlcompare.errors import UnknownNameError, did_you_mean
from mlcompare.registry import REGISTRIES, Registry

__all__ = ["KINDS", "registry_of"]

KINDS = {  # plural → the module whose import makes the registry
    "losses": "mlcompare.registry",
    "wrappers": "mlcompare.registry",
    "datasets": "mlcompare.data",
    "encoders": "mlcompare.encoders",
    "metrics": "mlcompare.metrics",
    "samplers": "mlcompare.data",
    "augmentations": "mlcompare.data",
    "optimizers": "mlcompare.training",
    "schedules": "mlcompare.training",
    "baselines": "mlcompare.training",
    "trainers": "mlcompare.training",
}


def registry_of(kind: str) -> Registry[Any]:
    """Return the registry of a kind, named in the plural or the singular.

    Raises:
        UnknownNameError: there is no such kind.

    >>> registry_of("samplers").kind
    'sampler'
    """
    plural = kind if kind in KINDS else f"{kind}es" if f"{kind}es" in KINDS else f"{kind}s"
    if plural not in KINDS:
        raise UnknownNameError(f"unknown kind {kind!r}", cure=did_you_mean(kind, KINDS))
    importlib.import_module(KINDS[plural])
    return REGISTRIES[plural]
