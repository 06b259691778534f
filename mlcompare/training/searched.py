"""What a trial's values change in the training itself: its numbers and choices, its batches, its augmentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlcompare.training.config import TrainingConfig

__all__ = ["AUGMENT", "EMBEDDING_DIM", "of_training", "shape_of_training", "with_searched"]

AUGMENT = "augment."  # before the name of an augmentation whose strength is searched
EMBEDDING_DIM = "embedding_dim"  # the one dimension of the encoder's that a study may search
SHAPING = ("optimizer", "schedule", "precision", "steps", EMBEDDING_DIM, "milestones", "step_factor", "warmup")
TUNED = frozenset(TrainingConfig.model_fields)


def of_training(values: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a trial's values that are the training's; a name that the loss has too is in ``own``, and its."""
    return {k: v for k, v in values.items() if (k in TUNED or k.startswith(AUGMENT)) and k not in own}


def with_searched(config: TrainingConfig, values: Mapping[str, Any], classes: int) -> TrainingConfig:
    """Return the training with a trial's values of it; ``classes`` is the number of classes trained on.

    Where ``samples_per_class`` K is searched and ``classes_per_batch`` P is not, the batch keeps its size: P becomes
    P·K / K'. With K' = 1 and more places than classes, P×K batches don't exist and random ones stand for them.

    >>> config = with_searched(TrainingConfig(classes_per_batch=8, samples_per_class=4), {"samples_per_class": 2}, 20)
    >>> config.classes_per_batch, config.samples_per_class, config.sampler
    (16, 2, 'pk')
    >>> with_searched(TrainingConfig(), {"samples_per_class": 1}, 20).sampler
    'random'
    """
    changes = {key: value for key, value in values.items() if not key.startswith(AUGMENT)}
    if "samples_per_class" in changes and "classes_per_batch" not in changes:
        batch, samples = config.classes_per_batch * config.samples_per_class, changes["samples_per_class"]
        changes["classes_per_batch"] = batch // samples
        if samples == 1 and batch > classes and changes.get("sampler", config.sampler) == "pk":
            changes["sampler"] = "random"
    strengths = {key.removeprefix(AUGMENT): value for key, value in values.items() if key.startswith(AUGMENT)}
    if strengths:
        changes["augment"] = {**config.augment, **strengths}
    return config.replaced(**changes)


def shape_of_training(config: TrainingConfig, values: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what trials must share to train as one program: all that shapes it, but no number that may differ."""
    batch = values.get("classes_per_batch", config.classes_per_batch), config.samples_per_class
    if "classes_per_batch" in values:
        batch = batch[0], values.get("samples_per_class", config.samples_per_class)
    shaping = tuple((key, value) for key, value in sorted(values.items()) if key in SHAPING or key.startswith(AUGMENT))
    return batch[0] * batch[1], shaping
