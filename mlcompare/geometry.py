"""Distances, similarities, and the dense masks that stand for lists of pairs and triplets.

Everything has a fixed shape and no branch on values, so that it runs under ``torch.func.vmap`` and ``torch.compile``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = [
    "FAR",
    "NORM_FLOOR",
    "Number",
    "cosine_similarities",
    "cross_distances",
    "euclidean_distances",
    "masked_logsumexp",
    "masked_max",
    "masked_mean",
    "masked_min",
    "negative_mask",
    "normalize",
    "positive_mask",
    "scalar",
    "squared_distances",
]

NORM_FLOOR = 1e-3  # a floor of 1e-12 gives gradients of 1e11 for embeddings near zero
SQUARED_DISTANCE_FLOOR = 1e-12
FAR = 1e30  # stands for infinity where gradients must stay finite; sums of a few of them still fit float32

Number = Tensor | float  # a hyperparameter: annotated as the number it is to its user, a 0-dim tensor inside a loss


def scalar(number: Number) -> Tensor:
    """Return a hyperparameter as the tensor it is inside a loss, where a tensor's methods are needed; no copy."""
    return number if isinstance(number, Tensor) else torch.tensor(number, dtype=torch.float64)


def normalize(embeddings: Tensor) -> Tensor:
    """Return ``x / max(‖x‖, 1e-3)`` for each row of ``embeddings (…, D)``; zero rows stay zero, with finite gradients.

    >>> normalize(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    norms = torch.linalg.vector_norm(embeddings, dim=-1, keepdim=True)  # (…, 1)
    return embeddings / norms.clamp_min(NORM_FLOOR)


def cosine_similarities(a: Tensor, b: Tensor) -> Tensor:
    """Return cos θ between the rows of ``a (N, D)`` and ``b (M, D)`` as ``(N, M)``, in [-1, 1] up to rounding."""
    return normalize(a) @ normalize(b).T


def squared_distances(embeddings: Tensor) -> Tensor:
    """Return squared Euclidean distances between all rows of ``embeddings (N, D)`` as ``(N, N)``, never below 1e-12.

    The result is float64: ``‖x‖² + ‖y‖² − 2·xᵀy`` of float32 rows, taken in float64, is right to 1e-16, where float32
    would lose a squared distance below 1e-7 among its rounding (a distance of 3e-4 between rows of unit length).
    """
    rows = embeddings.double()  # (N, D)
    products = rows @ rows.T  # (N, N)
    norms = products.diagonal().clone()  # (N,): ‖x‖², so that a row is at distance 0 from itself
    return products.mul_(-2).add_(norms[:, None]).add_(norms[None, :]).clamp_min_(SQUARED_DISTANCE_FLOOR)


class _Distances(torch.autograd.Function):
    """Euclidean distances with the gradient written down: one product backwards instead of two, and few passes."""

    generate_vmap_rule = True

    @staticmethod
    def forward(embeddings: Tensor) -> Tensor:
        return squared_distances(embeddings).sqrt_().to(embeddings.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        embeddings, distances = ctx.saved_tensors
        pull = (grad + grad.T).div_(distances)  # (N, N): how hard each pair pulls on its rows
        pull.masked_fill_(distances <= 1.000001 * SQUARED_DISTANCE_FLOOR**0.5, 0.0)  # at the floor nothing pulls
        total = pull.sum(1, keepdim=True)  # (N, 1)
        return torch.addcmul(-(pull @ embeddings), total, embeddings)  # (N, D): Σ_j pull_ij·(x_i − x_j)


def euclidean_distances(embeddings: Tensor, normalized: bool = False) -> Tensor:
    """Return Euclidean distances between all rows of ``embeddings (N, D)`` as ``(N, N)``, the diagonal included.

    Right, with its gradient, as far as the rows themselves are: in float32, at a distance of 1e-4 between rows of unit
    length, to 4e-4. Below 1e-6 nothing pulls. ``normalized`` (rows of unit length) makes no difference to it.

    >>> euclidean_distances(torch.tensor([[1.0, 0.0], [0.6, 0.8]]))[0, 1]
    tensor(0.8944)
    """
    return _Distances.apply(embeddings)


def cross_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return Euclidean distances between the rows of ``a (N, D)`` and ``b (M, D)`` as ``(N, M)``.

    As right as :func:`euclidean_distances`; below 1e-6 nothing pulls.

    >>> cross_distances(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.6, 0.8], [1.0, 0.0]]))
    tensor([[8.9443e-01, 1.0000e-06]])
    """
    left, right = a.double(), b.double()
    squares = left.square().sum(1)[:, None] + right.square().sum(1)[None, :] - 2 * left @ right.T  # (N, M)
    return squares.clamp_min(SQUARED_DISTANCE_FLOOR).sqrt().to(a.dtype)


def positive_mask(labels: Tensor) -> Tensor:
    """Return ``(N, N)`` booleans: same label, never a sample with itself.

    >>> positive_mask(torch.tensor([0, 0, 1])).int()
    tensor([[0, 1, 0],
            [1, 0, 0],
            [0, 0, 0]], dtype=torch.int32)
    """
    itself = torch.eye(labels.shape[0], dtype=torch.bool, device=labels.device)
    return (labels[:, None] == labels[None, :]) & ~itself


def negative_mask(labels: Tensor) -> Tensor:
    """Return ``(N, N)`` booleans: different labels."""
    return labels[:, None] != labels[None, :]


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of ``values`` where ``mask`` holds, as a scalar; 0 (with the graph kept) where it never holds."""
    total = torch.where(mask, values, 0.0).sum()
    return total / mask.sum().clamp_min(1)


def masked_max(values: Tensor, mask: Tensor) -> Tensor:
    """Return each row's largest of ``values (N, M)`` where ``mask`` holds, ``(N,)``; -1e30 where it never holds."""
    return torch.where(mask, values, -FAR).amax(1)


def masked_min(values: Tensor, mask: Tensor) -> Tensor:
    """Return each row's smallest of ``values (N, M)`` where ``mask`` holds, ``(N,)``; 1e30 where it never holds."""
    return torch.where(mask, values, FAR).amin(1)


def masked_logsumexp(values: Tensor, mask: Tensor) -> Tensor:
    """Return each row's ``log Σ e^v`` of ``values (N, M)`` where ``mask`` holds, ``(N,)``; -1e30 where it never holds.

    >>> masked_logsumexp(torch.zeros(1, 3), torch.tensor([[True, True, False]])).exp()
    tensor([2.])
    """
    return torch.where(mask, values, -FAR).logsumexp(1)
