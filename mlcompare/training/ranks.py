"""One training in several processes, its ranks: each embeds its share of a batch, and takes the whole batch's loss.

Every rank draws the same batches and has the same weights. A step gathers the embeddings of all shares, takes the loss
of all of them, sends each rank's part of the gradient back through its encoder, and sums the encoders' gradients: those
of one process with the whole batch, to rounding, wherever an embedding depends on its own sample alone, or by batch
norm on the others (:mod:`mlcompare.training.rank_batch_norm`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mlcompare.training.job import derive_seed

__all__ = ["ALONE", "LostRankError", "Ranks", "share_of"]


class LostRankError(RuntimeError):
    """Another rank does not answer any more."""


def share_of(batch: int, rank: int, size: int) -> slice:
    """Return which of a batch's samples a rank embeds: shares are as even as can be, and no sample is in two.

    >>> [share_of(10, rank, 3) for rank in range(3)]
    [slice(0, 4, None), slice(4, 7, None), slice(7, 10, None)]
    """
    least, more = divmod(batch, size)
    first = rank * least + min(rank, more)
    return slice(first, first + least + (rank < more))


class Ranks:
    """The processes of one training, as one of them sees them; alone, everything here does nothing.

    Args:
        rank: which one this is; the first measures, writes checkpoints and has the result.
        size: how many there are. With more than one they must have met (``torch.distributed``).
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self._common = 0

    @property
    def first(self) -> bool:
        """Whether this one measures and writes."""
        return self.rank == 0

    def share(self, batch: int) -> slice:
        """Return which samples of a batch are embedded here."""
        return share_of(batch, self.rank, self.size)

    def begin(self, random_state: int, step: int) -> None:
        """Give each rank random numbers of its own for its encoder (dropout, say), by the step alone."""
        if self.size > 1:
            self._common = derive_seed("torch", random_state, step)
            torch.manual_seed(derive_seed("torch", random_state, step, self.rank))

    def gathered(self, own: Tensor, batch: int) -> Tensor:
        """Return the embeddings ``(B, D)`` of a batch in float32, given this rank's share ``(b, D)``.

        Of a gradient of all, this rank's part flows back. From here all draw the same random numbers: it is one loss.
        """
        if self.size == 1:
            return own
        torch.manual_seed(self._common)
        whole: Tensor = _Gathered.apply(own.float(), batch, self)
        return whole

    def branched(self, shared: Tensor) -> Tensor:
        """Return what all ranks have, for a computation of which each does a part: their gradients of it are added."""
        whole: Tensor = _Branched.apply(shared, self)
        return whole

    def total(self, own: Tensor) -> Tensor:
        """Return the sum of a tensor over the ranks, without a gradient."""
        return self._reduced(own, dist.ReduceOp.SUM)

    def largest(self, own: Tensor) -> Tensor:
        """Return the element-wise maximum of a tensor over the ranks, without a gradient."""
        return self._reduced(own, dist.ReduceOp.MAX)

    @staticmethod
    def _reduced(own: Tensor, how: Any) -> Tensor:
        every = own.detach().clone()
        _asked(dist.all_reduce, every, how)
        return every

    def gathered_all(self, own: Tensor) -> Tensor:
        """Return the tensors of all ranks, of one shape, ``(N, …)``, without a gradient."""
        every = [torch.empty_like(own) for _ in range(self.size)]
        _asked(dist.all_gather, every, own)
        return torch.stack(every)

    def stacked(self, own: Tensor) -> Tensor:
        """Return the tensors of all ranks, of one shape, ``(N, …)``; but for the first rank, its own alone."""
        every = [torch.empty_like(own) for _ in range(self.size)] if self.first else None
        _asked(dist.gather, own.contiguous(), every)
        return torch.stack(every) if every is not None else own[None]

    def told(self, flag: bool, device: str) -> bool:
        """Return what the first rank says."""
        said = torch.tensor(flag, dtype=torch.uint8, device=device)
        _asked(dist.broadcast, said, 0)
        return bool(said)

    def summed(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum the encoders' gradients, each of a share, into that of the whole batch."""
        if self.size > 1:
            _together(_gradients(parameters), dist.all_reduce)

    def agreed(self, parameters: Iterable[nn.Parameter], buffers: Iterable[Tensor]) -> None:
        """Have the loss's gradients and running state be the first rank's everywhere.

        They are of the same numbers on every rank, but a GPU does not add in the same order each time.
        """
        if self.size > 1:
            state = [buffer for buffer in buffers if buffer.is_floating_point()]
            _together([*_gradients(parameters), *state], lambda flat: dist.broadcast(flat, 0))

    def meet(self, at: tuple[int, ...], device: str) -> None:
        """Check that all ranks begin at the same place.

        Raises:
            RuntimeError: they don't: one has read a checkpoint that another could not.
        """
        if self.size == 1:
            return
        own = torch.tensor(at, device=device)
        every = self.gathered_all(own)
        if any(not torch.equal(own, other) for other in every):
            raise RuntimeError(f"the ranks begin at different steps ({[other.tolist() for other in every]})")


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, batch: int, ranks: Ranks) -> Tensor:
        ctx.share = ranks.share(batch)
        sizes = [share_of(batch, rank, ranks.size) for rank in range(ranks.size)]
        counts = [share.stop - share.start for share in sizes]
        padded = own.new_zeros(max(counts), own.shape[1])
        padded[: len(own)] = own
        return torch.cat([part[:count] for part, count in zip(ranks.gathered_all(padded), counts)])

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None, None]:
        return gradients[0][ctx.share], None, None


class _Branched(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, shared: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        return shared.view_as(shared)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        return ctx.ranks.total(gradients[0]), None


def _asked(exchange: Callable[..., Any], *tensors: Any) -> None:
    try:
        exchange(*tensors)
    except RuntimeError as error:
        raise LostRankError(str(error).splitlines()[0]) from None


def _gradients(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


@torch.no_grad()
def _together(tensors: list[Tensor], exchange: Callable[[Tensor], Any]) -> None:
    """Exchange tensors in place, all of one type at once: each exchange waits for every rank."""
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
        some = [tensor for tensor in tensors if tensor.dtype == dtype]
        flat = torch.cat([tensor.flatten() for tensor in some])
        _asked(exchange, flat)
        for tensor, part in zip(some, flat.split([tensor.numel() for tensor in some])):
            tensor.copy_(part.view(tensor.shape))


ALONE = Ranks()
