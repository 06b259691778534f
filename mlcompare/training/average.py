"""An exponential moving average of the weights, which is what is measured and kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Average"]


class Average:
    """``average ← d·average + (1 − d)·weights`` after every step, with ``d = min(decay, (1 + t) / (10 + t))``.

    It is of all weights of encoder and loss that learn, and of the encoder's floating-point buffers (batch norm's
    running statistics); whatever else they hold is not averaged. t counts the steps: the first weights are soon
    forgotten, however short the training.

    >>> layer = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.zeros_(layer.weight)
    >>> average = Average(layer, nn.Identity(), decay=0.9)
    >>> _ = nn.init.ones_(layer.weight)
    >>> average.update()
    >>> with average.applied():
    ...     round(layer.weight.item(), 4), average.decay  # 1 − 1/10
    (0.9, 0.9)
    >>> layer.weight.item()
    1.0
    """

    def __init__(self, encoder: nn.Module, loss: nn.Module, decay: float) -> None:
        self.decay, self._count = decay, 0
        parameters = [*encoder.parameters(), *loss.parameters()]
        buffers = [buffer for buffer in encoder.buffers() if buffer.is_floating_point()]
        self._now = [*(p.detach() for p in parameters if p.requires_grad), *buffers]
        self._average = [tensor.clone() for tensor in self._now]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights of now."""
        decay = min(self.decay, (1 + self._count) / (10 + self._count))
        self._count += 1
        for mean, now in zip(self._average, self._now):
            mean.lerp_(now, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Have encoder and loss hold the average for a while."""
        before = [tensor.clone() for tensor in self._now]
        self.keep()
        try:
            yield
        finally:
            _copy(before, self._now)

    def keep(self) -> None:
        """Give encoder and loss the average for good."""
        _copy(self._average, self._now)

    def of(self, parameter: nn.Parameter) -> Tensor:
        """Return the average of one of the weights."""
        return next(mean for mean, now in zip(self._average, self._now) if now.data_ptr() == parameter.data_ptr())

    def state(self) -> dict[str, Any]:
        """Return the average; :meth:`restore` goes on from there."""
        return {"count": self._count, "average": self._average}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state`."""
        self._count = state["count"]
        _copy(state["average"], self._average)


@torch.no_grad()
def _copy(given: list[Tensor], target: list[Tensor]) -> None:
    for value, tensor in zip(given, target, strict=True):
        tensor.copy_(value)
