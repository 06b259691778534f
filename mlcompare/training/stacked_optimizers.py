"""The optimisers of :mod:`mlcompare.training.optimizers` for a population: every member with its own numbers.

All weights of all members lie in one vector, so a step is a handful of operations however many members and
layers there are. The formulas are torch.optim's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from mlcompare.errors import UnknownNameError, did_you_mean
from mlcompare.training.job import TrainingConfig

__all__ = ["STACKED_OPTIMIZERS", "StackedOptimizer", "StackedWeights"]


class StackedWeights:
    """Stacked parameters ``name → (M, …)`` laid out in one vector ``flat``, their gradients in another."""

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        self.members = len(next(iter(parameters.values())))
        self.flat = torch.cat([tensor.detach().flatten() for tensor in parameters.values()])  # (all weights,)
        self.gradient = torch.zeros_like(self.flat)
        self.views: dict[str, Tensor] = {}
        first = 0
        for name, tensor in parameters.items():
            span = slice(first, first + tensor.numel())
            view = self.flat[span].view(tensor.shape).requires_grad_()
            view.grad = self.gradient[span].view(tensor.shape)  # backward adds into the vector
            self.views[name] = view
            first = span.stop

    def spread(self, values: Sequence[float]) -> Tensor:
        """Return one number for each member as one for each weight, in the order of ``flat``."""
        column = torch.tensor(values, dtype=self.flat.dtype, device=self.flat.device)[:, None]
        sizes = (view.numel() // self.members for view in self.views.values())
        return torch.cat([column.expand(-1, size).flatten() for size in sizes])


class StackedOptimizer:
    """Steps :class:`StackedWeights` with a learning rate, weight decay and momentum for each member.

    Args:
        weights: encoder's, then (where it has any) the loss's own, whose rate is multiplied by ``head_lr_ratio``.
        configs: one for each member; they share the optimiser's name.

    Raises:
        UnknownNameError: no such optimiser.
    """

    def __init__(self, encoder: StackedWeights | None, loss: StackedWeights | None, configs: Sequence[TrainingConfig]):
        name = configs[0].optimizer
        if name not in STACKED_OPTIMIZERS:
            cure = did_you_mean(name, STACKED_OPTIMIZERS)
            raise UnknownNameError(f"unknown optimizer {name!r}", cure=cure)
        self._update = STACKED_OPTIMIZERS[name]
        self._groups: list[tuple[StackedWeights, dict[str, Tensor], dict[str, Tensor]]] = []
        for weights, ratios in ((encoder, [1.0] * len(configs)), (loss, [c.head_lr_ratio for c in configs])):
            if weights is not None:
                numbers = {
                    "lr": [c.lr * ratio for c, ratio in zip(configs, ratios)],
                    "decay": [c.weight_decay for c in configs],
                    "momentum": [c.momentum for c in configs],
                }
                self._groups.append((weights, {key: weights.spread(values) for key, values in numbers.items()}, {}))
        self._count = 0

    def zero_grad(self) -> None:
        for weights, _, _ in self._groups:
            weights.gradient.zero_()

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """Take one step; ``factor`` multiplies every learning rate."""
        self._count += 1
        for weights, numbers, state in self._groups:
            lr = numbers["lr"] * factor
            self._update(weights.flat, weights.gradient, lr, numbers, state, self._count)


def _slot(state: dict[str, Tensor], name: str, like: Tensor) -> Tensor:
    if name not in state:
        state[name] = torch.zeros_like(like)
    return state[name]


def _sgd(p: Tensor, g: Tensor, lr: Tensor, numbers, state, count: int) -> None:
    p.sub_(lr * (g + numbers["decay"] * p))


def _sgd_momentum(p: Tensor, g: Tensor, lr: Tensor, numbers, state, count: int) -> None:
    velocity = _slot(state, "velocity", p)
    velocity.mul_(numbers["momentum"]).add_(g + numbers["decay"] * p)
    p.sub_(lr * velocity)


def _adagrad(p: Tensor, g: Tensor, lr: Tensor, numbers, state, count: int) -> None:
    g = g + numbers["decay"] * p
    squares = _slot(state, "squares", p).addcmul_(g, g)
    p.sub_(lr * g / (squares.sqrt() + 1e-10))


def _rmsprop(p: Tensor, g: Tensor, lr: Tensor, numbers, state, count: int) -> None:
    g = g + numbers["decay"] * p
    squares = _slot(state, "squares", p).mul_(0.99).addcmul_(g, g, value=0.01)
    p.sub_(lr * g / (squares.sqrt() + 1e-8))


def _adam(p: Tensor, g: Tensor, lr: Tensor, numbers, state, count: int) -> None:
    _adaptive_step(p, g + numbers["decay"] * p, lr, state, count)


def _adamw(p: Tensor, g: Tensor, lr: Tensor, numbers, state, count: int) -> None:
    p.mul_(1 - lr * numbers["decay"])
    _adaptive_step(p, g, lr, state, count)


def _adaptive_step(p: Tensor, g: Tensor, lr: Tensor, state: dict[str, Tensor], count: int) -> None:
    """Adam's step with β = (.9, .999), ε = 1e-8 (Kingma & Ba 2015, algorithm 1)."""
    mean = _slot(state, "mean", p).lerp_(g, 0.1)
    squares = _slot(state, "squares", p).mul_(0.999).addcmul_(g, g, value=0.001)
    denominator = squares.sqrt().div_(math.sqrt(1 - 0.999**count)).add_(1e-8)
    p.sub_(mean.div(denominator).mul_(lr / (1 - 0.9**count)))


STACKED_OPTIMIZERS: dict[str, Callable[..., None]] = {
    "sgd": _sgd,
    "sgd_momentum": _sgd_momentum,
    "adagrad": _adagrad,
    "rmsprop": _rmsprop,
    "adam": _adam,
    "adamw": _adamw,
}
