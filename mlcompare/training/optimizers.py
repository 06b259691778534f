"""Optimisers and learning-rate schedules by name, each for one training and for a population."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import nn

from mlcompare.errors import InvalidValueError
from mlcompare.registry import Record, Registry
from mlcompare.training.config import TrainingConfig
from mlcompare.training.rates import rate_groups

__all__ = [
    "OPTIMIZERS", "SCHEDULES", "OptimizerSpec", "ScheduleSpec", "create_optimizer", "learning_rate_factor",
    "register_optimizer", "register_schedule",
]  # fmt: skip

Groups = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class OptimizerSpec(Record):
    """A registered optimiser: ``factory(groups, config) → torch.optim.Optimizer``."""


@dataclass(frozen=True, kw_only=True)
class ScheduleSpec(Record):
    """A registered schedule: ``factory(progress, config) → factor`` of the learning rate, for progress in [0, 1)."""


OPTIMIZERS = Registry("optimizer", "optimizers", OptimizerSpec, homes=["mlcompare.training"])
SCHEDULES = Registry("schedule", "schedules", ScheduleSpec, homes=["mlcompare.training"])
F = TypeVar("F", bound=Callable[..., Any])


def register_optimizer(name: str, *, reference: str = "", replace: bool = False) -> Callable[[F], F]:
    """File an optimiser under ``name``.

    It is called as ``factory(groups, config)``: every group has ``params``, ``lr``, ``weight_decay`` and ``momentum``,
    which torch's optimisers take from there. A population gives each member groups of its own.

    Raises:
        InvalidValueError: the name is taken, and ``replace`` is not said.
    """

    def decorate(factory: F) -> F:
        spec = OptimizerSpec(name=name, factory=factory, doc=factory.__doc__ or "", reference=reference)
        OPTIMIZERS.register(spec, replace=replace)
        return factory

    return decorate


def register_schedule(name: str, *, reference: str = "", replace: bool = False) -> Callable[[F], F]:
    """File a schedule under ``name``: ``factor(progress, config)``, which multiplies every learning rate.

    Raises:
        InvalidValueError: the name is taken, and ``replace`` is not said.
    """

    def decorate(factor: F) -> F:
        spec = ScheduleSpec(name=name, factory=factor, doc=factor.__doc__ or "", reference=reference)
        SCHEDULES.register(spec, replace=replace)
        return factor

    return decorate


@register_optimizer("sgd")
def _sgd(groups: Groups, config: TrainingConfig) -> torch.optim.Optimizer:
    """Stochastic gradient descent without momentum."""
    return torch.optim.SGD([{**group, "momentum": 0.0} for group in groups])


@register_optimizer("sgd_momentum")
def _sgd_momentum(groups: Groups, config: TrainingConfig) -> torch.optim.Optimizer:
    """Stochastic gradient descent with ``training.momentum``."""
    return torch.optim.SGD(groups)


@register_optimizer("adagrad", reference="Duchi et al. 2011")
def _adagrad(groups: Groups, config: TrainingConfig) -> torch.optim.Optimizer:
    """Adagrad."""
    return torch.optim.Adagrad(groups)


@register_optimizer("rmsprop", reference="Tieleman & Hinton 2012")
def _rmsprop(groups: Groups, config: TrainingConfig) -> torch.optim.Optimizer:
    """RMSprop with α = 0.99, without momentum."""
    return torch.optim.RMSprop([{**group, "momentum": 0.0} for group in groups])


@register_optimizer("adam", reference="Kingma & Ba 2015, arXiv:1412.6980")
def _adam(groups: Groups, config: TrainingConfig) -> torch.optim.Optimizer:
    """Adam with β = (0.9, 0.999); weight decay is added to the gradient."""
    return torch.optim.Adam(groups, fused=True)


@register_optimizer("adamw", reference="Loshchilov & Hutter 2019, arXiv:1711.05101")
def _adamw(groups: Groups, config: TrainingConfig) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay."""
    return torch.optim.AdamW(groups, fused=True)


@register_schedule("constant")
def _constant(progress: float, config: TrainingConfig) -> float:
    """The same learning rate from the first step to the last."""
    return 1.0


@register_schedule("cosine", reference="Loshchilov & Hutter 2017, arXiv:1608.03983")
def _cosine(progress: float, config: TrainingConfig) -> float:
    """Half a cosine from 1 to 0."""
    return 0.5 * (1 + math.cos(math.pi * progress))


@register_schedule("step")
def _step(progress: float, config: TrainingConfig) -> float:
    """``step_factor`` at each of ``milestones``, shares of the training."""
    return float(config.step_factor ** bisect.bisect_right(sorted(config.milestones), progress))


class _Weights(Protocol):
    def parameters(self) -> Iterable[nn.Parameter]: ...


def create_optimizer(encoder: nn.Module, losses: Iterable[_Weights], config: TrainingConfig) -> torch.optim.Optimizer:
    """Build the optimiser of an encoder and of the losses' own weights (``head_lr_ratio``, ``head_weight_decay``).

    The encoder's may learn at several rates: see :func:`~mlcompare.training.rates.rate_groups`.

    Raises:
        UnknownNameError: no such optimiser.
        InvalidValueError: nothing can be trained.
    """
    spec = OPTIMIZERS.usable(config.optimizer)
    own = [parameter for loss in losses for parameter in loss.parameters() if parameter.requires_grad]
    body = [
        (weights, config.learning_rate * ratio, config.weight_decay) for weights, ratio in rate_groups(encoder, config)
    ]
    numbers = [*body, (own, config.head_rate, config.head_decay)]
    groups: Groups = [
        {"params": parameters, "lr": lr, "weight_decay": decay, "momentum": config.momentum}
        for parameters, lr, decay in numbers if parameters
    ]  # fmt: skip
    if not groups:
        cure = "use another encoder, or a loss with class weights"
        raise InvalidValueError("something must be trainable", value="no weights", cure=cure)
    optimizer: torch.optim.Optimizer = spec.factory(groups, config)
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
    return rise * float(SCHEDULES.usable(config.schedule).factory(progress, config))
