"""Where a training's batches come from: the samples on its device, or read ahead from the disk as they are needed."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

__all__ = ["Batches", "Feed", "room"]

AHEAD = 3  # batches that are read before they are asked for
SHARE = 0.5  # of what is free, at most, is given to samples: the rest is for the training


def room(device: str | torch.device) -> int:
    """Return how many bytes of samples may lie on a device: half of what is free there now.

    A device that can't say how much is free has room for everything.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return int(SHARE * torch.cuda.mem_get_info(device)[0])
    if device.type != "cpu":
        return 2**63 - 1
    try:
        return int(SHARE * os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):  # not Linux
        return 2**63 - 1


class Feed:
    """The samples of a dataset, for trainings on one device.

    Samples that fit stay there whole (on the CPU, an array in memory always does and is never copied). Of others each
    batch is gathered by a thread from their memory map, a few steps ahead, into pinned memory where the device is a
    GPU: what a training holds doesn't grow with the dataset. The numbers are the same.

    Args:
        samples: ``(N, …)``, an array or a memory map.
        most: bytes that may lie on the device; what :func:`room` says by default.

    >>> feed = Feed(np.arange(6, dtype=np.float32).reshape(3, 2), "cpu")
    >>> feed.resident, feed.batches(torch.tensor([[2, 0]]))[0].tolist()
    (True, [[4.0, 5.0], [0.0, 1.0]])
    """

    def __init__(self, samples: np.ndarray, device: str, *, most: int | None = None) -> None:
        self.device = torch.device(device)
        in_memory = self.device.type == "cpu" and not isinstance(samples, np.memmap)
        self.resident = in_memory or samples.nbytes <= (room(device) if most is None else most)
        on_cpu = torch.as_tensor(np.asarray(samples))
        self.samples = on_cpu.to(self.device) if self.resident else on_cpu

    def batches(self, rows: Tensor) -> Batches:
        """Return the batches of a stage, given the ``rows (steps, …)`` of the dataset that each step trains on."""
        return Batches(self, rows)


class Batches:
    """The samples of each step ``(…, *sample)`` on the device; asked for in order, they are there when asked for."""

    def __init__(self, feed: Feed, rows: Tensor) -> None:
        self._feed = feed
        self._rows = rows if feed.resident else rows.cpu()
        self._coming: dict[int, Future[Tensor]] = {}
        self._reader: ThreadPoolExecutor | None = None

    def __getitem__(self, step: int) -> Tensor:
        feed = self._feed
        if feed.resident:
            return feed.samples[self._rows[step]]
        for number in range(step, min(step + AHEAD + 1, len(self._rows))):
            if number not in self._coming:
                self._coming[number] = self._thread().submit(self._read, number)
        for number in [number for number in self._coming if number < step]:  # a training that went on from elsewhere
            self._coming.pop(number)
        return self._coming.pop(step).result().to(feed.device, non_blocking=True)

    def keep(self, members: Sequence[int]) -> Batches:
        """Return the batches of some members of a population, whose rows are ``(steps, M, B)``."""
        return Batches(self._feed, self._rows[:, list(members)])

    def _read(self, step: int) -> Tensor:
        rows = self._rows[step]
        found = self._feed.samples.index_select(0, rows.flatten())
        if self._feed.device.type == "cuda":
            found = found.pin_memory()
        return found.view(*rows.shape, *found.shape[1:])

    def _thread(self) -> ThreadPoolExecutor:
        if self._reader is None:
            self._reader = ThreadPoolExecutor(1, thread_name_prefix="batches")
            weakref.finalize(self, self._reader.shutdown, wait=False, cancel_futures=True)
        return self._reader
