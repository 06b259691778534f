"""Which samples make a batch: every sampler draws batches of ``B = classes_per_batch × samples_per_class`` rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from mlcompare.errors import DataError, InvalidValueError
from mlcompare.registry import Record, Registry

__all__ = [
    "SAMPLERS", "SamplerSpec", "check_sampler", "class_balanced_batches", "epoch_batches", "pk_batches",
    "random_batches", "register_sampler",
]  # fmt: skip

CHUNK = 512  # steps drawn at a time: bounded memory however long the training
SORTED_UP_TO = 256  # samples of the largest class; beyond it K of them are drawn without sorting them all
SHUFFLED_UP_TO = 1024  # classes; beyond it P of them are drawn without shuffling them all


@dataclass(frozen=True, kw_only=True)
class SamplerSpec(Record):
    """A registered sampler: see :func:`pk_batches` for what it is called with and returns."""


SAMPLERS = Registry("sampler", "samplers", SamplerSpec, homes=["mlcompare.data"])
Sampler = TypeVar("Sampler", bound=Callable[..., Tensor])


def register_sampler(name: str, *, reference: str = "", replace: bool = False) -> Callable[[Sampler], Sampler]:
    """File a sampler under ``name``: a function that is called, and returns batches, as :func:`pk_batches` does.

    Raises:
        InvalidValueError: the name is taken, and ``replace`` is not said.
    """

    def decorate(draw: Sampler) -> Sampler:
        spec = SamplerSpec(name=name, factory=draw, doc=draw.__doc__ or "", reference=reference)
        SAMPLERS.register(spec, replace=replace)
        return draw

    return decorate


@register_sampler("pk")
def pk_batches(
    labels: Tensor, *, classes_per_batch: int, samples_per_class: int, steps: int, generator: torch.Generator
) -> Tensor:
    """Draw P×K batches: ``classes_per_batch`` classes without replacement, ``samples_per_class`` samples of each.

    A class with fewer samples than asked gives each of them equally often, as evenly as can be, so that a batch always
    has P·K rows.

    Args:
        labels: ``(N,)`` int64, counted from 0 without gaps.

    Returns:
        ``(steps, P·K)`` row numbers, on the device of ``labels``.

    Raises:
        DataError: there are fewer classes than ``classes_per_batch``.
        InvalidValueError: a count is below 1.

    >>> batches = pk_batches(torch.tensor([0, 0, 1, 1, 2, 2]), classes_per_batch=2, samples_per_class=2, steps=3,
    ...                      generator=torch.Generator().manual_seed(0))
    >>> batches.shape
    torch.Size([3, 4])
    """
    _check_counts(classes_per_batch, samples_per_class, steps)
    order, starts, counts = _grouped(labels, generator.device)
    if len(counts) < classes_per_batch:
        cure = "lower training.classes_per_batch"
        raise DataError(f"a batch needs {classes_per_batch} classes", value=f"{len(counts)} classes", cure=cure)
    many = len(counts) > max(SHUFFLED_UP_TO, 4 * classes_per_batch)
    within = _by_sorting if int(counts.max()) <= SORTED_UP_TO and not many else _by_floyd
    draw_classes = _first_distinct if many else _by_shuffling
    drawn = []
    for first in range(0, steps, CHUNK):
        chunk = min(CHUNK, steps - first)
        classes = draw_classes(len(counts), classes_per_batch, chunk, generator)  # (S, P)
        rows = starts[classes][..., None] + within(counts, classes, samples_per_class, generator)  # (S, P, K)
        drawn.append(order[rows].flatten(1))
    return torch.cat(drawn).to(labels.device)


@register_sampler("class_balanced")
def class_balanced_batches(
    labels: Tensor, *, classes_per_batch: int, samples_per_class: int, steps: int, generator: torch.Generator
) -> Tensor:
    """Deal out the classes in shuffled passes, each with one of its samples: every class as often, however small.

    Known as label shuffling. A batch may hold a class once or several times; a sample of a small class comes again.

    Takes, returns and raises what :func:`pk_batches` does, with any number of classes.
    """
    _check_counts(classes_per_batch, samples_per_class, steps)
    order, starts, counts = _grouped(labels, generator.device)
    total = steps * classes_per_batch * samples_per_class
    classes = _passes(len(counts), total, generator)
    share = torch.rand(total, generator=generator, device=generator.device, dtype=torch.float64)
    rows = order[starts[classes] + (share * counts[classes]).long()]
    return rows.reshape(steps, -1).to(labels.device)


@register_sampler("random")
def random_batches(
    labels: Tensor, *, classes_per_batch: int, samples_per_class: int, steps: int, generator: torch.Generator
) -> Tensor:
    """Draw each batch from all samples, without replacement and whatever their classes.

    Takes and returns what :func:`pk_batches` does.

    Raises:
        DataError: there are fewer samples than a batch has rows.
        InvalidValueError: a count is below 1.
    """
    _check_counts(classes_per_batch, samples_per_class, steps)
    batch, count = classes_per_batch * samples_per_class, len(labels)
    if count < batch:
        cure = "lower training.classes_per_batch or samples_per_class"
        raise DataError(f"a batch needs {batch} samples", value=f"{count} samples", cure=cure)
    sizes = torch.tensor([count], device=generator.device)
    drawn = []
    for first in range(0, steps, CHUNK):
        all_rows = torch.zeros(min(CHUNK, steps - first), 1, dtype=torch.int64, device=generator.device)
        drawn.append(_by_floyd(sizes, all_rows, batch, generator).flatten(1))
    return torch.cat(drawn).to(labels.device)


@register_sampler("epoch")
def epoch_batches(
    labels: Tensor, *, classes_per_batch: int, samples_per_class: int, steps: int, generator: torch.Generator
) -> Tensor:
    """Cut shuffled passes over all samples into batches: every sample once a pass.

    No sample is dropped and no batch is short: where a pass ends inside a batch, the next one goes on in it, and that
    batch may hold a sample twice.

    Takes, returns and raises what :func:`pk_batches` does, with any number of classes and samples.
    """
    _check_counts(classes_per_batch, samples_per_class, steps)
    rows = _passes(len(labels), steps * classes_per_batch * samples_per_class, generator)
    return rows.reshape(steps, -1).to(labels.device)


def check_sampler(name: str, labels: Tensor, *, classes_per_batch: int, samples_per_class: int) -> None:
    """Draw one batch, and raise what a training would.

    Raises:
        DataError: too few classes or samples for the sampler ``name``.
    """
    generator = torch.Generator().manual_seed(0)
    counts = {"classes_per_batch": classes_per_batch, "samples_per_class": samples_per_class}
    batches = SAMPLERS.usable(name)(labels, **counts, steps=1, generator=generator)
    shape, wanted = tuple(getattr(batches, "shape", ())), (1, classes_per_batch * samples_per_class)
    if shape != wanted or batches.is_floating_point():
        raise InvalidValueError(f"a sampler returns row numbers {wanted} for one step", value=str(shape), place=name)


def _check_counts(classes_per_batch: int, samples_per_class: int, steps: int) -> None:
    if min(classes_per_batch, samples_per_class, steps) < 1:
        got = f"P={classes_per_batch}, K={samples_per_class}, steps={steps}"
        raise InvalidValueError("P, K and steps must be 1 or more", value=got)


def _grouped(labels: Tensor, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return the rows grouped by class ``(N,)``, and where each class starts and how many it has, both ``(C,)``."""
    counts = torch.bincount(labels)
    order = torch.argsort(labels, stable=True)
    starts = counts.cumsum(0) - counts
    return order.to(device), starts.to(device), counts.to(device)


def _by_shuffling(count: int, wanted: int, steps: int, generator: torch.Generator) -> Tensor:
    """Return ``(steps, wanted)`` distinct numbers below ``count`` in each row: the first of all of them, shuffled."""
    return torch.rand(steps, count, generator=generator, device=generator.device).argsort(1)[:, :wanted]


def _first_distinct(count: int, wanted: int, steps: int, generator: torch.Generator) -> Tensor:
    """Return what :func:`_by_shuffling` does, at a cost that doesn't grow with ``count``.

    Each row is drawn with replacement, twice as often as needed, and keeps the first of every number; a row that still
    has too few is drawn anew. Which rows those are depends on what is equal to what, not on the numbers themselves: so
    every sequence of distinct numbers stays as likely as any other.
    """
    found = torch.empty(steps, wanted, dtype=torch.int64, device=generator.device)
    left = torch.arange(steps, device=generator.device)
    while len(left):
        drawn = torch.randint(count, (len(left), 2 * wanted), generator=generator, device=generator.device)
        ordered, places = drawn.sort(dim=1, stable=True)
        again = torch.zeros_like(drawn, dtype=torch.bool)
        again.scatter_(1, places[:, 1:], ordered[:, 1:] == ordered[:, :-1])  # whether it stood in the row before
        kept = again.int().sort(dim=1, stable=True).indices[:, :wanted]  # the first ones come first, in their order
        enough = (~again).sum(1) >= wanted
        found[left[enough]] = drawn.gather(1, kept)[enough]
        left = left[~enough]
    return found


def _by_sorting(counts: Tensor, classes: Tensor, samples: int, generator: torch.Generator) -> Tensor:
    """Return ``(S, P, K)`` distinct places in each of ``classes (S, P)``: the first of all its samples, shuffled."""
    size = counts[classes][..., None]  # (S, P, 1)
    keys = torch.rand(*classes.shape, int(counts.max()), generator=generator, device=generator.device)
    keys = keys.masked_fill(torch.arange(keys.shape[-1], device=keys.device) >= size, 2.0)  # absent samples go last
    shuffled = keys.argsort(-1)  # (S, P, largest class)
    turns = torch.arange(samples, device=keys.device) % size  # (S, P, K): wraps around small classes
    return shuffled.gather(-1, turns)


def _by_floyd(counts: Tensor, classes: Tensor, samples: int, generator: torch.Generator) -> Tensor:
    """Return what :func:`_by_sorting` does, at a cost that doesn't grow with the classes.

    Floyd's sampling (Bentley & Floyd 1987): the i-th draw is from the first ``n − K + i + 1`` samples, and the last of
    these stands in where the draw was taken before. Then the places turn by a random number, so that each is as likely.
    """
    size = counts[classes]  # (S, P)
    distinct = size.clamp_max(samples)
    share = torch.rand(*classes.shape, samples + 1, generator=generator, device=generator.device, dtype=torch.float64)
    places = torch.full((*classes.shape, samples), -1, dtype=torch.int64, device=generator.device)
    for i in range(samples):
        last = size - distinct + i  # (S, P)
        draw = (share[..., i] * (last + 1)).long()
        taken = (places[..., :i] == draw[..., None]).any(-1)
        places[..., i] = torch.where(taken, last, draw)
    turns = (
        torch.arange(samples, device=generator.device) % distinct[..., None]
    )  # (S, P, K): wraps around small classes
    offset = (share[..., samples:] * size[..., None]).long()
    return (places.gather(-1, turns) + offset) % size[..., None]


def _passes(count: int, total: int, generator: torch.Generator) -> Tensor:
    """Return ``(total,)`` numbers below ``count``, in shuffled passes of all of them."""
    keys = torch.rand(-(-total // count), count, generator=generator, device=generator.device)
    return keys.argsort(1).flatten()[:total]
