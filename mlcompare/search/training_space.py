"""What of the training a study may search: numbers, choices, and strengths of augmentations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlcompare.data import AUGMENTATIONS, SAMPLERS
from mlcompare.errors import UnknownNameError, did_you_mean
from mlcompare.registry import Hyperparameter, HyperparameterSpec, OptionSpec, Registry
from mlcompare.search.space import Choice, Range, Space, overridden
from mlcompare.training.config import PRECISIONS
from mlcompare.training.optimizers import OPTIMIZERS, SCHEDULES
from mlcompare.training.searched import AUGMENT

__all__ = ["PRETRAINED_LR", "TRAINING_NUMBERS", "training_dimensions", "training_space"]

TRAINING_NUMBERS: dict[str, HyperparameterSpec] = {
    "lr": Hyperparameter(1e-3, low=1e-4, high=1e-1, log=True, positive=True, symbol="lr"),
    "head_lr_ratio": Hyperparameter(1.0, low=1.0, high=1e3, log=True, positive=True),
    "weight_decay": Hyperparameter(1e-4, low=1e-6, high=1e-2, log=True, minimum=0.0),
    "head_weight_decay": Hyperparameter(1e-4, low=1e-6, high=1e-2, log=True, minimum=0.0),
    "momentum": Hyperparameter(0.9, minimum=0.0, maximum=0.999),
    "warmup": Hyperparameter(0.0, low=0.0, high=0.2, minimum=0.0, maximum=0.99),
    "step_factor": Hyperparameter(0.1, positive=True, maximum=1.0),
    "steps": Hyperparameter(100, integer=True, minimum=1, maximum=1_000_000),
    "classes_per_batch": Hyperparameter(8, integer=True, minimum=1, maximum=1_000_000),
    "samples_per_class": Hyperparameter(4, integer=True, minimum=1, maximum=1_000_000),
    "embedding_dim": Hyperparameter(64, integer=True, minimum=1, maximum=100_000),
}
NAMED: dict[str, Registry[Any]] = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "sampler": SAMPLERS}
PRETRAINED_LR = {"low": 1e-6, "high": 1e-3, "log": True, "default": 1e-5}  # of an encoder that has learned already


def training_dimensions() -> dict[str, HyperparameterSpec | OptionSpec]:
    """Return everything of the training that may be searched, by its key in a study file.

    Strengths of augmentations are called ``augment.<name>``.

    >>> sorted(training_dimensions())[:3]
    ['augment.affine', 'augment.blur', 'augment.brightness']
    """
    choices = {key: OptionSpec(None, tuple(known)) for key, known in NAMED.items()}
    choices["precision"] = OptionSpec("float32", PRECISIONS)
    strengths = {
        f"{AUGMENT}{name}": Hyperparameter(0.0, minimum=spec.low, maximum=spec.high)
        for name, spec in AUGMENTATIONS.items()
    }
    return {**TRAINING_NUMBERS, **choices, **strengths}


def training_space(given: Mapping[str, Any], base: Mapping[str, Any]) -> Space:
    """Return the space of whatever of the training the study searches.

    ``base`` holds the training's own values: the defaults of trial 0.

    Raises:
        UnknownNameError: the training has no such number or choice.
        InvalidValueError: a value lies outside its domain, or ``low >= high``.

    >>> training_space({"steps": [100, 200]}, {"steps": 100})
    {'steps': Choice(values=(100, 200), default=100)}
    """
    known = training_dimensions()
    space: Space = {}
    for name, value in given.items():
        if name not in known:
            raise UnknownNameError(f"unknown search dimension {name!r}", cure=did_you_mean(name, known), place=name)
        declaration, default = known[name], base.get(name)
        space[name] = _whole(overridden(name, declaration, value, default=default), declaration)
        dimension = space[name]
        if isinstance(dimension, Choice) and default in dimension.values:
            space[name] = Choice(dimension.values, default)
    return space


def _whole(dimension: Any, declaration: HyperparameterSpec | OptionSpec) -> Any:
    """Turn the values of a whole number into whole numbers."""
    if isinstance(declaration, OptionSpec) or not declaration.integer or isinstance(dimension, Range):
        return dimension
    if isinstance(dimension, Choice):
        return Choice(tuple(int(value) for value in dimension.values), int(dimension.default))
    return int(dimension)
