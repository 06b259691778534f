"""Rows times normalised class weights, without ever writing the normalised weights down.

With 100 000 classes the weights are the largest tensor of a step by far: normalising them costs several passes over
``(C, D)`` forward and backward. Dividing the product's columns by the norms instead costs one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mlcompare.geometry import NORM_FLOOR

__all__ = ["project"]


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
