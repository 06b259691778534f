"""Optimisers and learning-rate schedules by name."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterable

import torch
from torch import nn

from mlcompare.errors import InvalidValueError, UnknownNameError, did_you_mean
from mlcompare.training.config import TrainingConfig

__all__ = ["OPTIMIZERS", "SCHEDULES", "create_optimizer", "learning_rate_factor"]

Groups = list[dict]

OPTIMIZERS: dict[str, Callable[[Groups, TrainingConfig], torch.optim.Optimizer]] = {
    "sgd": lambda groups, c: torch.optim.SGD(groups, lr=c.learning_rate, weight_decay=c.weight_decay),
    "sgd_momentum": lambda groups, c: torch.optim.SGD(
        groups, lr=c.learning_rate, momentum=c.momentum, weight_decay=c.weight_decay
    ),
    "adagrad": lambda groups, c: torch.optim.Adagrad(groups, lr=c.learning_rate, weight_decay=c.weight_decay),
    "rmsprop": lambda groups, c: torch.optim.RMSprop(groups, lr=c.learning_rate, weight_decay=c.weight_decay),
    "adam": lambda groups, c: torch.optim.Adam(groups, lr=c.learning_rate, weight_decay=c.weight_decay, fused=True),
    "adamw": lambda groups, c: torch.optim.AdamW(groups, lr=c.learning_rate, weight_decay=c.weight_decay, fused=True),
}
SCHEDULES = ("constant", "cosine", "step")


def create_optimizer(encoder: nn.Module, losses: Iterable[nn.Module], config: TrainingConfig) -> torch.optim.Optimizer:
    """Build the optimiser of an encoder and of the losses' own weights (lr × ``head_lr_ratio``).

    Raises:
        UnknownNameError: no such optimiser.
    """
    if config.optimizer not in OPTIMIZERS:
        cure = did_you_mean(config.optimizer, OPTIMIZERS)
        raise UnknownNameError(f"unknown optimizer {config.optimizer!r}", cure=cure)
    own = [parameter for loss in losses for parameter in loss.parameters()]
    groups = [{"params": list(encoder.parameters()), "lr": config.learning_rate}]
    if own:
        groups.append({"params": own, "lr": config.learning_rate * config.head_lr_ratio})
    groups = [group for group in groups if group["params"]]
    if not groups:
        cure = "use another encoder, or a loss with class weights"
        raise InvalidValueError("something must be trainable", value="no weights", cure=cure)
    optimizer = OPTIMIZERS[config.optimizer](groups, config)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def learning_rate_factor(config: TrainingConfig, progress: float) -> float:
    """Return what the learning rate is multiplied by at ``progress`` in [0, 1).

    The schedule's factor, times ``min(1, (progress + 1/steps) / warmup)`` where there is a warm-up.

    >>> learning_rate_factor(TrainingConfig(schedule="step", milestones=(0.5,)), 0.7)
    0.1
    >>> [learning_rate_factor(TrainingConfig(steps=10, warmup=0.2), step / 10) for step in range(3)]
    [0.5, 1.0, 1.0]
    """
    rise = min(1.0, (progress + 1 / config.steps) / config.warmup) if config.warmup > 0 else 1.0
    if config.schedule == "cosine":
        return rise * 0.5 * (1 + math.cos(math.pi * progress))
    if config.schedule == "step":
        return rise * config.step_factor ** bisect.bisect_right(sorted(config.milestones), progress)
    return rise
