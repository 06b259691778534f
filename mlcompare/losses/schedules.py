"""The papers' schedules as functions of progress in [0, 1]: a short run anneals as far as a long one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mlcompare.geometry import Number, scalar

__all__ = ["ANNEALING", "Annealing", "annealed"]


@dataclass(frozen=True)
class Annealing:
    """``λ(it) = max(λ_min, base·(1 + γ·it)^−power)`` with ``it = progress · iterations``: one paper's own numbers."""

    base: float
    gamma: float
    power: float
    iterations: int


ANNEALING = {
    "l_softmax_mnist": Annealing(base=1000.0, gamma=2.5e-5, power=35.0, iterations=30_000),
    "sphereface20": Annealing(base=1000.0, gamma=0.12, power=1.0, iterations=28_000),
}


def annealed(name: str, progress: Tensor, minimum: Number) -> Tensor:
    """Return λ, 0-dim, of the preset ``name`` (or ``none``: λ_min throughout).

    >>> step = torch.tensor(5000 / 30_000, dtype=torch.float64)
    >>> round(annealed("l_softmax_mnist", step, torch.tensor(0.0)).item(), 1)
    16.2
    """
    minimum = scalar(minimum)
    if name == "none":
        return minimum
    preset = ANNEALING[name]
    decayed = preset.base * (1 + preset.gamma * preset.iterations * progress) ** -preset.power
    return torch.maximum(decayed, minimum.to(decayed.dtype))
