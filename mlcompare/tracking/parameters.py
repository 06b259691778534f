"""Hyperparameters under the names that MLflow shows: the field's symbol with its unit, so units share no column."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from mlcompare.registry import HyperparameterSpec

__all__ = ["LEADING", "logged_parameters", "parameter_names"]

GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "η": "eta", "λ": "lambda", "μ": "mu",
    "ν": "nu", "ρ": "rho", "σ": "sigma", "τ": "tau", "θ": "theta", "φ": "phi", "Δ": "delta",
}  # fmt: skip
UNITS = {
    "rad": "rad", "cosine": "cos", "distance": "dist", "squared distance": "sqdist", "similarity": "sim",
    "factor": "factor",
}  # fmt: skip
LEADING = ("m_rad", "m_cos", "m_dist", "m_sqdist", "m_sim", "m_factor", "m", "s", "lambda", "alpha", "tau", "lr")
DECADES = ("lr", "scale", "alpha", "weight")  # searched over decades: shown by their logarithm as well


def parameter_names(declarations: Mapping[str, HyperparameterSpec]) -> dict[str, str]:
    """Return name → logged name of a loss's hyperparameters; where two share a symbol, both keep their names.

    >>> from mlcompare.registry import get_spec
    >>> parameter_names(get_spec("arcface").hyperparameters)
    {'scale': 's', 'margin': 'm_rad'}
    >>> parameter_names(get_spec("cosface").hyperparameters)["margin"]
    'm_cos'
    """
    roles = {name: _role(name, spec) for name, spec in declarations.items()}
    counts = Counter(roles.values())
    shared = {name: _with_unit(name, declarations[name].unit) for name in roles if counts[roles[name]] > 1}
    return {**roles, **shared}


def _role(name: str, spec: HyperparameterSpec) -> str:
    place, dot, last = name.rpartition(".")  # a term of a sum comes before its number
    symbol = "".join(GREEK.get(letter, letter) for letter in spec.symbol) if spec.symbol else last
    return place + dot + (_with_unit(symbol, spec.unit) if spec.symbol else last)


def _with_unit(name: str, unit: str | None) -> str:
    return f"{name}_{UNITS[unit]}" if unit in UNITS else name


def logged_parameters(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return a training's values under their logged names, what is searched over decades by its logarithm as well.

    >>> logged_parameters({"lr": 0.01, "margin": 0.5}, {"margin": "m_rad"})
    {'lr': 0.01, 'm_rad': 0.5, 'log10_lr': -2.0}
    """
    params = {names.get(name, name): value for name, value in values.items()}
    for name in DECADES:
        if isinstance(values.get(name), float) and values[name] > 0:
            params[f"log10_{names.get(name, name)}"] = round(math.log10(values[name]), 6)
    return params
