"""The optimisers of :mod:`mlcompare.training.optimizers` for a population: every member with its own numbers.

All weights of all members lie in one vector, so a step is a handful of operations however many members and
layers there are; on a CPU, Adam and AdamW are PyTorch's fused kernel, member after member, which passes over the
memory once. The formulas are torch.optim's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from mlcompare.errors import UnknownNameError, did_you_mean
from mlcompare.training.config import TrainingConfig

__all__ = ["STACKED_OPTIMIZERS", "StackedOptimizer", "StackedWeights"]


class StackedWeights:
    """Stacked parameters ``name → (M, …)`` laid out in one vector ``flat``."""

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        self.members = len(next(iter(parameters.values())))
        self.flat = torch.cat([tensor.detach().flatten() for tensor in parameters.values()])  # (all weights,)
        self._shapes = {name: tensor.shape for name, tensor in parameters.items()}
        self.views = {name: view.requires_grad_() for name, view in self.stacks(self.flat).items()}

    def stacks(self, flat: Tensor) -> dict[str, Tensor]:
        """Return views ``name → (M, …)`` of a vector in the order of ``flat``."""
        parts = flat.split([math.prod(shape) for shape in self._shapes.values()])
        return {name: part.view(shape) for (name, shape), part in zip(self._shapes.items(), parts)}

    def gradient(self) -> Tensor:
        """Return the gradient in the order of ``flat``; 0 where a weight had none."""
        views = self.views.values()
        return torch.cat([(torch.zeros_like(v) if v.grad is None else v.grad).flatten() for v in views])

    def spread(self, values: Sequence[float]) -> Tensor:
        """Return one number for each member as one for each weight, in the order of ``flat``."""
        column = torch.tensor(values, dtype=self.flat.dtype, device=self.flat.device)[:, None]
        sizes = (view.numel() // self.members for view in self.views.values())
        return torch.cat([column.expand(-1, size).flatten() for size in sizes])


class StackedOptimizer:
    """Steps :class:`StackedWeights` along their views' gradients; rate, decay and momentum are each member's own.

    Args:
        encoder: the encoders' weights.
        loss: the losses' own, where they have any, whose rate is multiplied by ``head_lr_ratio``.
        configs: one for each member; they share the optimiser's name.

    Raises:
        UnknownNameError: no such optimiser.
    """

    def __init__(self, encoder: StackedWeights | None, loss: StackedWeights | None, configs: Sequence[TrainingConfig]):
        name = configs[0].optimizer
        if name not in STACKED_OPTIMIZERS:
            cure = did_you_mean(name, STACKED_OPTIMIZERS)
            raise UnknownNameError(f"unknown optimizer {name!r}", cure=cure)
        self._steppers: list[Callable[[float, int], None]] = []
        for weights, ratios in ((encoder, [1.0] * len(configs)), (loss, [c.head_lr_ratio for c in configs])):
            if weights is not None:
                rates = [c.learning_rate * ratio for c, ratio in zip(configs, ratios)]
                fused = name in FUSED and weights.flat.device.type == "cpu"
                kind = _FusedAdam if fused else _Vectorized
                self._steppers.append(kind(name, weights, rates, configs))
        self._count = 0

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """Take one step; ``factor`` multiplies every learning rate."""
        self._count += 1
        for step in self._steppers:
            step(factor, self._count)


class _FusedAdam:
    """Adam and AdamW by PyTorch's fused kernel, member after member: one pass over the memory. For CPUs."""

    def __init__(self, name: str, weights: StackedWeights, rates: Sequence[float], configs: Sequence[TrainingConfig]):
        self._update, self._weights, self._rates = FUSED[name], weights, rates
        self._decays = [c.weight_decay for c in configs]
        self._count = torch.zeros(())
        state = (weights.flat, torch.zeros_like(weights.flat), torch.zeros_like(weights.flat))
        self._state = [  # (weights, means, squares) of each member, each a list over the layers
            tuple([stack[member] for stack in weights.stacks(flat).values()] for flat in state)
            for member in range(weights.members)
        ]

    def __call__(self, factor: float, count: int) -> None:
        self._count.fill_(count)
        views = self._weights.views.values()
        used = [number for number, view in enumerate(views) if view.grad is not None]
        if not used:
            return
        gradients = zip(*(view.grad.contiguous().unbind() for view in views if view.grad is not None))
        counts = [self._count] * len(used)
        for state, gradient, lr, decay in zip(self._state, gradients, self._rates, self._decays):
            own = ([tensors[number] for number in used] for tensors in state)
            weights, means, squares = own
            self._update(
                weights, list(gradient), means, squares, [], counts, lr=lr * factor, beta1=0.9, beta2=0.999,
                weight_decay=decay, eps=1e-8, amsgrad=False, maximize=False,
            )  # fmt: skip


class _Vectorized:
    """A step in a handful of operations over all members and layers."""

    def __init__(self, name: str, weights: StackedWeights, rates: Sequence[float], configs: Sequence[TrainingConfig]):
        self._update, self._weights, self._state = STACKED_OPTIMIZERS[name], weights, {}
        decays, momenta = ([c.weight_decay for c in configs], [c.momentum for c in configs])
        columns = {"lr": rates, "decay": decays, "momentum": momenta}
        self._numbers = {key: weights.spread(values) for key, values in columns.items()}

    def __call__(self, factor: float, count: int) -> None:
        lr = self._numbers["lr"] * factor
        self._update(self._weights.flat, self._weights.gradient(), lr, self._numbers, self._state, count)


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
FUSED: dict[str, Callable[..., None]] = {"adam": torch._fused_adam_, "adamw": torch._fused_adamw_}
