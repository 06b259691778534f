"""The names that MLflow shows a study's hyperparameters under, loss by loss."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from mlcompare.errors import MLCompareError
from mlcompare.study.entries import parse_entry
from mlcompare.tracking.parameters import parameter_names

__all__ = ["logged_names"]


def logged_names(losses: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return loss → hyperparameter → logged name; a loss whose plug-in is not loaded keeps its own names.

    >>> logged_names({"triplet": None, "mine": {"loss": "cosface", "m": 0.2}})["mine"]["margin"]
    'm_cos'
    """
    names = {}
    for name, given in losses.items():
        with suppress(MLCompareError):
            entry, _ = parse_entry(name, given, training={}, base={})
            names[name] = parameter_names(entry.hyperparameters)
    return names
