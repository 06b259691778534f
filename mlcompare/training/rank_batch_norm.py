"""Batch norm over ranks: each normalises its share of a batch by the mean and variance of the whole.

PyTorch's ``SyncBatchNorm`` does so on GPUs alone, for layers that are replaced by it. This takes the place of the
function that layers call, whatever layer it is, while an encoder embeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from mlcompare.training.ranks import Ranks

__all__ = ["WholeBatchNorm"]


class WholeBatchNorm(TorchFunctionMode):
    """While it is entered, batch norms in training mode see the samples of all ranks. All ranks must enter it.

    Those in evaluation mode (``batch_norm: eval``, frozen ones) normalise by their running statistics, as ever.
    """

    def __init__(self, ranks: Ranks) -> None:
        super().__init__()
        self._ranks = ranks

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        return self._batch_norm(*args, **given) if func is F.batch_norm else func(*args, **given)

    def _batch_norm(
        self, input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None,
        bias: Tensor | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
    ) -> Tensor:  # fmt: skip  # the signature of F.batch_norm
        if not training:
            return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
        normalised, mean, variance, count = _Normalised.apply(input.float(), eps, self._ranks)
        if running_mean is not None and running_var is not None:
            with torch.no_grad():
                running_mean.lerp_(mean.to(running_mean.dtype), momentum)
                unbiased = variance * count / (count - 1)
                running_var.lerp_(unbiased.to(running_var.dtype), momentum)
        shape = (1, -1, *[1] * (input.ndim - 2))
        scaled = normalised if weight is None else normalised * weight.view(shape)
        return (scaled if bias is None else scaled + bias.view(shape)).to(input.dtype)


class _Normalised(torch.autograd.Function):
    """``(x − μ) / √(σ² + ε)`` of samples ``(b, C, …)``, and μ, σ² ``(C,)`` and the count that they are of, 0-dim."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float, ranks: Ranks) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        axes = [0, *range(2, x.ndim)]
        ctx.axes, ctx.shape, ctx.ranks = axes, (1, -1, *[1] * (x.ndim - 2)), ranks
        own = x.mean(axes)  # (C,)
        squares = (x - own.view(ctx.shape)).square().sum(axes)
        count = torch.full_like(own, x.numel() / x.shape[1])
        counts, means, sums = ranks.gathered_all(torch.stack([count, own, squares])).unbind(1)  # (N, C) each
        total = counts.sum(0)  # (C,)
        mean = (counts * means).sum(0) / total
        variance = (sums + counts * (means - mean).square()).sum(0) / total  # Chan et al. 1983, eq. 2.1
        inverse = (variance + eps).rsqrt()  # (C,)
        normalised = (x - mean.view(ctx.shape)) * inverse.view(ctx.shape)
        ctx.save_for_backward(normalised, inverse, total)
        size = total[0]
        ctx.mark_non_differentiable(mean, variance, size)
        return normalised, mean, variance, size

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None, None]:
        normalised, inverse, total = ctx.saved_tensors
        grad = gradients[0]
        sums = torch.stack([grad.sum(ctx.axes), (grad * normalised).sum(ctx.axes)])  # (2, C)
        along, across = (ctx.ranks.total(sums) / total).view(2, *ctx.shape)
        return (grad - along - normalised * across) * inverse.view(ctx.shape), None, None
