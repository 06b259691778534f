"""What a loss takes for labels: a class each, levels of a hierarchy, or sets of labels."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from mlcompare.errors import InvalidValueError

__all__ = ["CLASS", "LEVELS", "SETS", "check_labels", "check_sets", "form_of", "labels_for", "shared_levels"]

CLASS = "class"  # (B,): a class each
LEVELS = "levels"  # also (B, L): the class first, then the group that it lies in, then coarser ones
SETS = "sets"  # also (B, L) of 0 and 1: a column for each label, and a sample may have several
TAKES = {
    LEVELS: "hierarchical_supcon and hierarchical_triplet take levels (B, L), the class first",
    SETS: "multi_supcon takes sets of labels (B, L) of 0 and 1",
}


def check_labels(labels: Tensor, count: int, form: str, *, place: str) -> None:
    """Check the shape and the type of the labels of ``count`` samples for a loss of that form.

    Raises:
        InvalidValueError: with rule, value and cure.
    """
    several = labels.ndim == 2 and labels.shape[0] == count and labels.shape[1] > 0
    fits = labels.ndim == 1 and labels.shape[0] == count
    flags = form == SETS and several and labels.dtype == torch.bool
    if (
        (fits or (several and form != CLASS))
        and not labels.is_floating_point()
        and (labels.dtype != torch.bool or flags)
    ):
        return
    got = f"shape {tuple(labels.shape)}, {labels.dtype} for {count} embeddings"
    if several and form == CLASS:
        cure = f"give the class of each sample, labels[:, 0] of levels; {'; '.join(TAKES.values())}"
        raise InvalidValueError("`labels` must be integers (B,)", value=got, cure=cure, place=place)
    shapes = "(B,)" if form == CLASS else "(B,) or (B, L)"
    raise InvalidValueError(f"`labels` must be integers {shapes}", value=got, place=place)


def check_sets(labels: Tensor, *, place: str) -> None:
    """Check that sets of labels ``(B, L)`` are written as 0 and 1.

    Raises:
        InvalidValueError: there is another number among them.
    """
    low, high = (int(bound) for bound in labels.to(torch.int64).aminmax())
    if low < 0 or high > 1:
        cure = "write a column for each label, 1 where the sample has it"
        raise InvalidValueError("sets of labels must be 0 and 1", value=f"{low} … {high}", cure=cure, place=place)


def form_of(forms: Iterable[str], *, place: str) -> str:
    """Return what a loss of several parts takes, given what each part takes.

    Raises:
        InvalidValueError: one takes levels, another sets.

    >>> form_of(["class", "levels"], place="sum"), form_of(["class"], place="sum")
    ('levels', 'class')
    """
    found = {form for form in forms if form != CLASS}
    if len(found) > 1:
        rule, cure = "the parts of a loss must take labels of one form", "; ".join(TAKES.values())
        raise InvalidValueError(rule, value=" and ".join(sorted(found)), cure=cure, place=place)
    return found.pop() if found else CLASS


def labels_for(part: str, whole: str, labels: Tensor) -> Tensor:
    """Return the labels of a part, given its form and that of the whole: of levels ``(B, L)`` the class alone, or all.

    >>> labels_for("class", "levels", torch.tensor([[3, 0], [4, 0]]))
    tensor([3, 4])
    """
    return labels[:, 0] if (part, whole, labels.ndim) == (CLASS, LEVELS, 2) else labels


def shared_levels(labels: Tensor) -> Tensor:
    """Return the finest level that two samples share, ``(B, B)``: 0 the class, …, L where they share nothing.

    Two samples share a level where they agree in its column and in those of all coarser levels.

    >>> shared_levels(torch.tensor([[0, 0], [0, 0], [1, 0], [2, 1]]))[0]
    tensor([0, 0, 1, 2])
    """
    agree = labels[:, None, :] == labels[None, :, :]  # (B, B, L)
    return labels.shape[1] - agree.flip(2).cumprod(2).sum(2)
