"""Class weights that lie apart: each rank holds the rows of its share of the classes, and trains no other.

The softmax over all classes is taken where they are: each rank has the logits of its own, and the ranks exchange their
largest one, the sum of their exponentials and the target's, three numbers a sample (as in An et al. 2022,
arXiv:2203.15565). Weights, gradients and the optimiser's state of a row are on one rank alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mlcompare.errors import InvalidValueError
from mlcompare.losses.base import Loss
from mlcompare.losses.head import Head, SoftmaxHead
from mlcompare.training.average import Average
from mlcompare.training.ranks import Ranks, share_of

__all__ = ["ClassShards", "can_be_sharded", "check_sharded", "class_shards"]


def can_be_sharded(loss: Loss) -> bool:
    """Whether a loss is the mean cross-entropy of logits that each need the rows of one class alone.

    >>> from mlcompare.losses.cosface import CosFace
    >>> from mlcompare.losses.proxy import ProxyAnchor
    >>> [can_be_sharded(made(num_classes=2, embedding_dim=2)) for made in (CosFace, ProxyAnchor)]
    [True, False]
    """
    if not isinstance(loss, SoftmaxHead) or not loss.columns_apart:
        return False
    return type(loss).each is SoftmaxHead.each and type(loss).compute is Head.compute


def check_sharded(loss: Loss) -> bool:
    """Return whether a loss has class weights to share out.

    Raises:
        InvalidValueError: it has, and its value can't be put together from shares of the classes.
    """
    parts = [part for part in loss.modules() if isinstance(part, Loss) and "class_weights" in part.class_rows]
    if parts and not can_be_sharded(loss):
        rule, cure = "sharded class weights need a plain softmax over them", "leave out training.class_weights"
        raise InvalidValueError(rule, value=type(loss).__name__, cure=cure)
    return bool(parts)


def class_shards(loss: Loss, kept: str, ranks: Ranks) -> ClassShards | None:
    """Return what shares out the class weights of a loss; None where every rank has all of them, or there are none.

    Args:
        kept: ``training.class_weights``.

    Raises:
        InvalidValueError: the loss must see all classes, or there are fewer than ranks.
    """
    if kept == "replicated" or ranks.size == 1 or not check_sharded(loss):
        return None
    assert isinstance(loss, SoftmaxHead)
    if loss.num_classes < ranks.size:
        rule, cure = "each rank must hold a class", "use fewer ranks, or leave out training.class_weights"
        raise InvalidValueError(rule, value=f"{ranks.size} ranks for {loss.num_classes}", cure=cure)
    return ClassShards(loss, ranks)


class ClassShards:
    """A head that has the rows of this rank's classes alone, from here to :meth:`join`.

    Every rank's tensors have room for as many rows, and for one more: a target that is on another rank counts as that
    spare class, whose logit is left out. Rows without a class stay 0.
    """

    def __init__(self, head: SoftmaxHead, ranks: Ranks) -> None:
        self._head, self._ranks, self._count = head, ranks, head.num_classes
        self._own = ranks.share(self._count)
        self._held = self._own.stop - self._own.start
        self._room = -(-self._count // ranks.size) + 1
        rows = {name: getattr(head, name) for name in head.class_rows}
        self._shard = {name: nn.Parameter(self._cut(whole), whole.requires_grad) for name, whole in rows.items()}
        self._put(self._shard, self._room)

    def _cut(self, whole: Tensor) -> Tensor:
        part = whole.new_zeros(self._room, *whole.shape[1:])
        part[: self._held] = whole.detach()[self._own]
        return part

    def _put(self, rows: dict[str, nn.Parameter], count: int) -> None:
        self._head.num_classes = count
        for name, parameter in rows.items():
            setattr(self._head, name, parameter)

    def parameters(self) -> list[nn.Parameter]:
        """Return what this rank's optimiser steps."""
        return list(self._head.parameters())

    @property
    def shards(self) -> list[nn.Parameter]:
        """What no other rank has."""
        return list(self._shard.values())

    def __call__(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        """Return the loss of a batch ``(B, D)``, the same on every rank; gradients of embeddings are whole."""
        here = (labels >= self._own.start) & (labels < self._own.stop)
        places = torch.where(here, labels - self._own.start, self._room - 1)  # (B,)
        logits = self._head.margin_logits(self._ranks.branched(embeddings), places)  # (B, C/N + 1)
        each: Tensor = _CrossEntropy.apply(logits[:, : self._held], places, here, self._ranks)
        return each.mean()

    def exchange(self) -> None:
        """Sum what ranks share of the head (a learned scale): each has the gradient of its own classes' logits.

        Where a gradient is infinite on one rank, it is on all: a scaled loss then skips the step everywhere.
        """
        own = {id(parameter) for parameter in self.shards}
        self._ranks.summed(parameter for parameter in self.parameters() if id(parameter) not in own)
        gradients = [parameter.grad for parameter in self.shards if parameter.grad is not None]
        finite = torch.stack([gradient.isfinite().all() for gradient in gradients]).all()
        anywhere = self._ranks.total((~finite).float())
        for gradient in gradients:
            gradient[-1].masked_fill_(anywhere > 0, torch.inf)

    def squares_elsewhere(self) -> Tensor:
        """Return the sum of squares of the gradients of rows that are on other ranks, 0-dim."""
        own = sum(p.grad.square().sum() for p in self.shards if p.grad is not None)
        own = torch.as_tensor(own, device=self.shards[0].device)
        return self._ranks.total(own) - own

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Have the first rank's loss hold the rows of every class for a while. All ranks must take part."""
        self.join()
        try:
            yield
        finally:
            self._put(self._shard, self._room)

    def join(self) -> None:
        """Give the first rank's loss the rows of every class for good. All ranks must take part."""
        stacked = {name: self._ranks.stacked(shard.detach()) for name, shard in self._shard.items()}  # (N, C/N + 1, …)
        if self._ranks.first:
            shares = [share_of(self._count, rank, self._ranks.size) for rank in range(self._ranks.size)]
            held = [share.stop - share.start for share in shares]
            rows = {n: torch.cat([part[:count] for part, count in zip(all_, held)]) for n, all_ in stacked.items()}
            self._put({n: nn.Parameter(rows[n], shard.requires_grad) for n, shard in self._shard.items()}, self._count)

    def state(self, optimizer: torch.optim.Optimizer, average: Average | None) -> dict[str, Any]:
        """Return what optimiser and average keep of every rank's rows. All ranks must take part."""
        return {
            name: {key: self._ranks.stacked(kept).cpu() for key, kept in self._kept(shard, optimizer, average).items()}
            for name, shard in self._shard.items()
        }

    def restore(self, state: dict[str, Any], optimizer: torch.optim.Optimizer, average: Average | None) -> None:
        """Go on from :meth:`state`."""
        for name, shard in self._shard.items():
            for key, kept in self._kept(shard, optimizer, average).items():
                kept.copy_(state[name][key][self._ranks.rank])

    def _kept(
        self, shard: nn.Parameter, optimizer: torch.optim.Optimizer, average: Average | None
    ) -> dict[str, Tensor]:
        kept = {
            key: value for key, value in optimizer.state[shard].items()
            if isinstance(value, Tensor) and value.shape == shard.shape
        }  # fmt: skip
        return kept if average is None else {**kept, "average": average.of(shard)}


class _CrossEntropy(torch.autograd.Function):
    """``log Σ_j e^{z_j} − z_y`` of each sample, the classes j being on all ranks."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, places: Tensor, here: Tensor, ranks: Ranks) -> Tensor:
        column = torch.where(here, places, 0)[:, None]  # (B, 1)
        target = torch.where(here, logits.gather(1, column).squeeze(1), 0.0)  # (B,)
        most = ranks.largest(logits.amax(1))  # (B,)
        powers = (logits - most[:, None]).exp()  # (B, C/N)
        total, target = ranks.total(torch.stack([powers.sum(1), target]))  # (B,) each
        ctx.save_for_backward(powers / total[:, None], column, here)
        return total.log() + most - target

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None, None, None]:
        probabilities, column, here = ctx.saved_tensors
        grad = probabilities.scatter_add(1, column, -here[:, None].to(probabilities.dtype))  # (B, C/N)
        return gradients[0][:, None] * grad, None, None, None
