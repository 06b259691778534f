"""Angles and margins on them, in forms whose gradients stay finite at cos θ = ±1."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mlcompare.geometry import Number, scalar

__all__ = ["add_angle", "angle", "eased_angle", "monotone_angle", "monotone_cosine"]

COSINE_LIMIT = 1 - 1e-7  # acos has an infinite gradient at ±1
SQUARED_SINE_FLOOR = 1e-12


def add_angle(cosine: Tensor, margin: Number) -> Tensor:
    """Return cos(θ + m) from cos θ without acos, whose gradient is infinite at cos θ = ±1.

    >>> add_angle(torch.tensor([1.0, 0.0]), torch.tensor(0.5))  # cos .5, −sin .5
    tensor([ 0.8776, -0.4794])
    """
    margin = scalar(margin)
    sine = (1 - cosine.square()).clamp_min(SQUARED_SINE_FLOOR).sqrt()
    return cosine * margin.cos() - sine * margin.sin()


def monotone_angle(cosine: Tensor, margin: Number) -> Tensor:
    """Return cos(θ + m) where θ < π − m and ``cos θ − m·sin m`` past it, so that the target falls on all of [0, π].

    The two pieces don't meet: at m = .5 the value jumps from −1 to −1.117 (Deng et al.'s code has it so).
    """
    margin = scalar(margin)
    return torch.where(cosine > -margin.cos(), add_angle(cosine, margin), cosine - margin * margin.sin())


def eased_angle(cosine: Tensor, margin: Number) -> Tensor:
    """Return cos(θ + m) where cos θ > 0 and cos θ elsewhere: ArcFace's "easy margin"."""
    return torch.where(cosine > 0, add_angle(cosine, margin), cosine)


def angle(cosine: Tensor) -> Tensor:
    """Return θ = acos(cos θ), with cos θ clamped to ±(1 − 1e-7) so that the gradient stays finite."""
    return cosine.clamp(-COSINE_LIMIT, COSINE_LIMIT).acos()


def monotone_cosine(cosine: Tensor, margin: Number) -> Tensor:
    """Return ψ(θ) = (−1)^k·cos(mθ) − 2k for θ in [kπ/m, (k+1)π/m]: cos(mθ), unrolled to fall on all of [0, π].

    >>> monotone_cosine(torch.tensor([0.5]), torch.tensor(2.0))  # θ = π/3: cos 2π/3
    tensor([-0.5000])
    >>> monotone_cosine(torch.tensor([-0.5]), torch.tensor(2.0))  # θ = 2π/3, k = 1: −cos 4π/3 − 2
    tensor([-1.5000])
    """
    turned = margin * angle(cosine)  # mθ
    k = (turned.detach() / math.pi).floor()
    return (1 - 2 * (k % 2)) * turned.cos() - 2 * k  # Liu et al. 2016, eq. 6
