"""The registered optimisers for a population: every member with its own learning rate, decay and momentum.

Each member has groups of its own in one ``torch.optim`` optimiser, so any optimiser works, with its own arithmetic.
Where that optimiser would go from member to member in Python (all but the fused ones), the plain ones are a handful of
operations over all members' weights, which lie in one vector; their formulas are torch.optim's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mlcompare.registry.registry import NATIVE
from mlcompare.training.config import TrainingConfig
from mlcompare.training.optimizers import OPTIMIZERS

__all__ = ["FUSED", "VECTORIZED", "StackedOptimizer", "StackedWeights"]

FUSED = frozenset({"adam", "adamw"})  # on a CPU: one pass over the memory for each member


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

    def subset(self, flat: Tensor, members: Sequence[int]) -> Tensor:
        """Return what a vector in the order of ``flat`` has for some members, in the order of :meth:`kept`."""
        return torch.cat([stack[list(members)].flatten() for stack in self.stacks(flat).values()])

    def kept(self, members: Sequence[int]) -> StackedWeights:
        """Return the weights of some members, in a vector of their own."""
        return StackedWeights({name: view.detach()[list(members)] for name, view in self.views.items()})

    def gradient(self) -> Tensor:
        """Return the gradient in the order of ``flat``; 0 where a weight had none."""
        views = self.views.values()
        return torch.cat([(torch.zeros_like(v) if v.grad is None else v.grad).flatten() for v in views])

    def reached(self) -> Tensor:
        """Return 1 for each weight that the loss depends on and 0 for the others, in the order of ``flat``."""
        views = self.views.values()
        return torch.cat([torch.full_like(v.flatten(), 0.0 if v.grad is None else 1.0) for v in views]).detach()

    def spread(self, values: Sequence[float]) -> Tensor:
        """Return one number for each member as one for each weight, in the order of ``flat``."""
        column = torch.tensor(values, dtype=self.flat.dtype, device=self.flat.device)[:, None]
        sizes = (view.numel() // self.members for view in self.views.values())
        return torch.cat([column.expand(-1, size).flatten() for size in sizes])


class _Numbers(NamedTuple):
    """What a member's weights are trained with."""

    lr: float
    decay: float
    momentum: float


class StackedOptimizer:
    """Steps :class:`StackedWeights` along their views' gradients; rate, decay and momentum are each member's own.

    Args:
        encoder: the encoders' weights.
        loss: the losses' own, where they have any, with the rate and decay of the head.
        configs: one for each member; they share the optimiser's name.

    Raises:
        UnknownNameError: no such optimiser.
    """

    def __init__(
        self, encoder: StackedWeights | None, loss: StackedWeights | None, configs: Sequence[TrainingConfig]
    ) -> None:
        name = configs[0].optimizer
        spec = OPTIMIZERS.usable(name)
        self._steppers: list[_Grouped | _Vectorized] = []
        of_encoder = [_Numbers(c.learning_rate, c.weight_decay, c.momentum) for c in configs]
        of_loss = [_Numbers(c.head_rate, c.head_decay, c.momentum) for c in configs]
        for weights, numbers in ((encoder, of_encoder), (loss, of_loss)):
            if weights is not None:
                fused = name in FUSED and weights.flat.device.type == "cpu"
                plain = spec.provider == NATIVE and name in VECTORIZED and not fused
                kind = _Vectorized if plain else _Grouped
                self._steppers.append(kind(name, weights, numbers, configs[0]))
        self._count = 0

    def keep(self, encoder: StackedWeights | None, loss: StackedWeights | None, members: Sequence[int]) -> None:
        """Go on with some members alone, whose weights lie elsewhere now (:meth:`StackedWeights.kept`)."""
        weights = [stacked for stacked in (encoder, loss) if stacked is not None]
        for stepper, stacked in zip(self._steppers, weights):
            stepper.keep(stacked, members)

    def state(self) -> dict[str, Any]:
        """Return what the optimiser has gathered; :meth:`restore` goes on from there."""
        return {"count": self._count, "steppers": [stepper.state() for stepper in self._steppers]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state`."""
        self._count = state["count"]
        for stepper, saved in zip(self._steppers, state["steppers"], strict=True):
            stepper.restore(saved)

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """Take one step; ``factor`` multiplies every learning rate."""
        self._count += 1
        for step in self._steppers:
            step(factor, self._count)


class _Grouped:
    """The registered optimiser itself, with groups of its own for each member."""

    def __init__(self, name: str, weights: StackedWeights, numbers: Sequence[_Numbers], config: TrainingConfig) -> None:
        self._name, self._config = name, config
        self._begin(weights, numbers)

    def _begin(self, weights: StackedWeights, numbers: Sequence[_Numbers]) -> None:
        self._weights, self._numbers = weights, numbers
        stacks = weights.stacks(weights.flat).values()
        self._members = [[stack[member] for stack in stacks] for member in range(weights.members)]
        groups = [
            {"params": own, "lr": number.lr, "weight_decay": number.decay, "momentum": number.momentum}
            for own, number in zip(self._members, numbers)
        ]
        self._optimizer: torch.optim.Optimizer = OPTIMIZERS[self._name].factory(groups, self._config)

    def keep(self, weights: StackedWeights, members: Sequence[int]) -> None:
        before, parameters = self._optimizer.state, [self._members[member] for member in members]
        self._begin(weights, [self._numbers[member] for member in members])
        for old, new in zip(parameters, self._members):
            self._optimizer.state.update({n: before[o] for o, n in zip(old, new) if o in before})

    def state(self) -> dict[str, Any]:
        return self._optimizer.state_dict()

    def restore(self, state: dict[str, Any]) -> None:
        self._optimizer.load_state_dict(state)

    def __call__(self, factor: float, count: int) -> None:
        for group, own in zip(self._optimizer.param_groups, self._numbers):
            group["lr"] = own.lr * factor
        gradients = [None if v.grad is None else v.grad.contiguous() for v in self._weights.views.values()]
        for member, mine in enumerate(self._members):
            for parameter, gradient in zip(mine, gradients):
                parameter.grad = None if gradient is None else gradient[member]
        self._optimizer.step()


class _Vectorized:
    """A step in a handful of operations over all members and layers."""

    def __init__(self, name: str, weights: StackedWeights, numbers: Sequence[_Numbers], config: TrainingConfig) -> None:
        self._update, self._weights = VECTORIZED[name], weights
        self._state: State = {}
        columns = dict(zip(_Numbers._fields, zip(*numbers)))
        self._numbers = {key: weights.spread(values) for key, values in columns.items()}

    def keep(self, weights: StackedWeights, members: Sequence[int]) -> None:
        for vectors in (self._state, self._numbers):
            vectors.update({key: self._weights.subset(vector, members) for key, vector in vectors.items()})
        self._weights = weights

    def state(self) -> dict[str, Any]:
        return {"vectors": self._state, "numbers": self._numbers}

    def restore(self, state: dict[str, Any]) -> None:
        device = self._weights.flat.device
        for own, saved in ((self._state, state["vectors"]), (self._numbers, state["numbers"])):
            own.update({key: vector.to(device) for key, vector in saved.items()})

    def __call__(self, factor: float, count: int) -> None:
        if count == 1:  # what the loss doesn't depend on stays as it is, decay or not
            self._numbers["decay"] = self._numbers["decay"] * self._weights.reached()
        lr = self._numbers["lr"] * factor
        self._update(self._weights.flat, self._weights.gradient(), lr, self._numbers, self._state, count)


State = dict[str, Tensor]
Numbers = Mapping[str, Tensor]


def _slot(state: State, name: str, like: Tensor) -> Tensor:
    if name not in state:
        state[name] = torch.zeros_like(like)
    return state[name]


def _sgd(p: Tensor, g: Tensor, lr: Tensor, numbers: Numbers, state: State, count: int) -> None:
    p.sub_(lr * (g + numbers["decay"] * p))


def _sgd_momentum(p: Tensor, g: Tensor, lr: Tensor, numbers: Numbers, state: State, count: int) -> None:
    velocity = _slot(state, "velocity", p)
    velocity.mul_(numbers["momentum"]).add_(g + numbers["decay"] * p)
    p.sub_(lr * velocity)


def _adagrad(p: Tensor, g: Tensor, lr: Tensor, numbers: Numbers, state: State, count: int) -> None:
    g = g + numbers["decay"] * p
    squares = _slot(state, "squares", p).addcmul_(g, g)
    p.sub_(lr * g / (squares.sqrt() + 1e-10))


def _rmsprop(p: Tensor, g: Tensor, lr: Tensor, numbers: Numbers, state: State, count: int) -> None:
    g = g + numbers["decay"] * p
    squares = _slot(state, "squares", p).mul_(0.99).addcmul_(g, g, value=0.01)
    p.sub_(lr * g / (squares.sqrt() + 1e-8))


def _adam(p: Tensor, g: Tensor, lr: Tensor, numbers: Numbers, state: State, count: int) -> None:
    _adaptive_step(p, g + numbers["decay"] * p, lr, state, count)


def _adamw(p: Tensor, g: Tensor, lr: Tensor, numbers: Numbers, state: State, count: int) -> None:
    p.mul_(1 - lr * numbers["decay"])
    _adaptive_step(p, g, lr, state, count)


def _adaptive_step(p: Tensor, g: Tensor, lr: Tensor, state: State, count: int) -> None:
    """Adam's step with β = (.9, .999), ε = 1e-8 (Kingma & Ba 2015, algorithm 1)."""
    mean = _slot(state, "mean", p).lerp_(g, 0.1)
    squares = _slot(state, "squares", p).mul_(0.999).addcmul_(g, g, value=0.001)
    denominator = squares.sqrt().div_(math.sqrt(1 - 0.999**count)).add_(1e-8)
    p.sub_(mean.div(denominator).mul_(lr / (1 - 0.9**count)))


VECTORIZED: dict[str, Callable[..., None]] = {
    "sgd": _sgd,
    "sgd_momentum": _sgd_momentum,
    "adagrad": _adagrad,
    "rmsprop": _rmsprop,
    "adam": _adam,
    "adamw": _adamw,
}
