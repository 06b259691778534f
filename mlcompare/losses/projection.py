"""Rows times normalised class weights, without ever writing the normalised weights down.

With 100 000 classes the weights are the largest tensor of a step by far: normalising them costs several passes over
``(C, D)`` forward and backward. Dividing the product's columns by the norms instead costs one. With few classes the
rows are the larger tensor, and the same holds for them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mlcompare.geometry import NORM_FLOOR

__all__ = ["cosines", "project"]


class _Projection(torch.autograd.Function):
    """``P = X Wᵀ diag(1/n)`` with ``n_j = max(‖w_j‖, 1e-3)``, and the entries ``P[i, y_i]``."""

    generate_vmap_rule = True

    @staticmethod
    def forward(rows: Tensor, weights: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        norms = torch.linalg.vector_norm(weights, dim=1)  # (C,)
        inverse = norms.clamp_min(NORM_FLOOR).reciprocal()
        products = (rows @ weights.T).mul_(inverse)  # (B, C)
        return products, products.gather(1, labels[:, None]), inverse, norms > NORM_FLOOR

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        rows, weights, labels = inputs
        products, _, inverse, free = output
        ctx.mark_non_differentiable(inverse, free)
        ctx.save_for_backward(rows, weights, labels, products, inverse, free)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, grad_target: Tensor, *_: Any) -> tuple[Tensor, Tensor, None]:
        rows, weights, labels, products, inverse, free = ctx.saved_tensors
        scaled = grad * inverse  # (B, C)
        scaled.scatter_add_(1, labels[:, None], grad_target * inverse[labels][:, None])
        along = (scaled * products).sum(0) * inverse  # (C,): the share along w that a norm takes back
        along = torch.where(free, along, 0.0)
        grad_weights = torch.addcmul(scaled.T @ rows, weights, along[:, None], value=-1)  # (C, D)
        return scaled @ weights, grad_weights, None


def project(rows: Tensor, weights: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``rows (B, D)`` times the normalised ``weights (C, D)``: ``(B, C)``, and its targets, ``(B, 1)``.

    The targets are an output of their own so that a margin's gradient enters at ``(B, 1)``, not through a ``(B, C)``
    tensor of zeros.

    >>> project(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 5.0], [5.0, 0.0]]), torch.tensor([1]))
    (tensor([[0., 3.]]), tensor([[3.]]))
    """
    products, targets, *_ = _Projection.apply(rows, weights, labels)
    return products, targets


class _Cosines(torch.autograd.Function):
    """``P = diag(1/r) X Wᵀ diag(1/n)`` with ``r_i = max(‖x_i‖, 1e-3)``, ``n_j = max(‖w_j‖, 1e-3)``, and ``P[i, y_i]``.

    ∂P_ij/∂x_i = (w_j/n_j − P_ij·x_i/r_i)/r_i, and likewise of the other side; below its floor a norm is a constant.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(rows: Tensor, weights: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        of_rows = torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min(NORM_FLOOR)  # (B, 1)
        of_weights = torch.linalg.vector_norm(weights, dim=1).clamp_min(NORM_FLOOR)  # (C,)
        unit = rows / of_rows  # (B, D)
        products = (unit @ weights.T).mul_(of_weights.reciprocal())  # (B, C)
        return products, products.gather(1, labels[:, None]), unit, of_rows, of_weights

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        _, weights, labels = inputs
        products, _, *rest = output
        ctx.mark_non_differentiable(*rest)
        ctx.save_for_backward(weights, labels, products, *rest)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, grad_target: Tensor, *_: Any) -> tuple[Tensor, Tensor, None]:
        weights, labels, products, unit, of_rows, of_weights = ctx.saved_tensors
        inverse = of_weights.reciprocal()
        scaled = grad * inverse  # (B, C)
        scaled.scatter_add_(1, labels[:, None], grad_target * inverse[labels][:, None])
        along = scaled * products  # what the norms take back, over n_j
        by_class = along.sum(0) * inverse * (of_weights > NORM_FLOOR)
        by_row = (along @ of_weights)[:, None] * (of_rows > NORM_FLOOR)
        grad_weights = torch.addcmul(scaled.T @ unit, weights, by_class[:, None], value=-1)  # (C, D)
        grad_rows = torch.addcmul(scaled @ weights, unit, by_row, value=-1) / of_rows  # (B, D)
        return grad_rows, grad_weights, None


def cosines(rows: Tensor, weights: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cosines of ``rows (B, D)`` and ``weights (C, D)``: ``(B, C)``, and those of the targets, ``(B, 1)``.

    >>> cosines(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 5.0], [5.0, 0.0]]), torch.tensor([1]))
    (tensor([[0., 1.]]), tensor([[1.]]))
    """
    products, targets, *_ = _Cosines.apply(rows, weights, labels)
    return products, targets
