"""Many classes: each step sees the batch's classes and a random share of the others, and touches no other row.

Partial FC (An et al. 2022, arXiv:2203.15565): the softmax over all classes is estimated by one over a sample of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mlcompare.errors import InvalidValueError
from mlcompare.losses.base import Loss
from mlcompare.losses.label_forms import CLASS
from mlcompare.registry.registry import NATIVE

__all__ = ["ClassSample", "class_sample"]


def class_sample(loss: Loss, share: float, num_classes: int, generator: torch.Generator) -> ClassSample | None:
    """Return what samples the classes of a loss; None where all are seen, or the loss has no class weights.

    Raises:
        InvalidValueError: a loss of one's own has rows of classes that it doesn't name in ``class_rows``; a part of the
            loss remembers labels, which each step's sample of classes numbers anew, or takes levels.
    """
    parts = _losses(loss).values()
    if share == 1 or not any("class_weights" in part.class_rows for part in parts):
        return None
    if loss.label_form != CLASS:
        rule, cure = "a loss beside one of levels must see all classes", "leave out training.class_sample"
        raise InvalidValueError(rule, value=f"class_sample: {share}", cure=cure)
    remembering = [type(part).__name__ for part in parts if part.remembers_labels]
    if remembering:
        rule, cure = "a loss beside a memory must see all classes", "leave out training.class_sample, or the memory"
        raise InvalidValueError(rule, value=f"class_sample: {share}", cure=cure, place=remembering[0])
    return ClassSample(loss, share, num_classes, generator)


class ClassSample:
    """The rows of a loss that a step sees: of class weights, their optimiser's state, and whatever else has some.

    The loss keeps all C rows. What the optimiser steps are stand-ins: before a step they and their state are filled
    with the rows of the sampled classes, after it both are written back. Momentum, decay and all else reach those rows
    alone; a count of steps (Adam's) is one for all rows, as in the authors' code.

    Args:
        share: of the C classes. Where a batch has more than that, its classes alone are seen, as in the paper.
        generator: draws the others.
    """

    def __init__(self, loss: Loss, share: float, num_classes: int, generator: torch.Generator) -> None:
        self._loss, self._count, self._generator = loss, num_classes, generator
        self._wanted = int(share * num_classes)
        self._parts = [part for part in _losses(loss).values() if part.num_classes == num_classes]
        rows = [f"{name}.{row}".lstrip(".") for name, part in _losses(loss).items() for row in part.class_rows]
        _check(loss, num_classes, rows)
        every: dict[str, Tensor] = {**dict(loss.named_parameters()), **dict(loss.named_buffers())}
        # each (C, …), the loss's own memory; where a weight is shared, other places of it are empty
        self._all = {name: every[name].detach() for name in rows if len(every[name])}
        self._stand_ins = {
            name: nn.Parameter(tensor[:1].clone()) for name, tensor in self._all.items() if every[name].requires_grad
        }
        self._states: dict[str, dict[str, Tensor]] = {name: {} for name in self._stand_ins}  # each (C, …)
        self._rows = torch.arange(num_classes, device=generator.device)

    def parameters(self) -> list[nn.Parameter]:
        """Return what the optimiser steps: the loss's parameters, with stand-ins for those that have rows."""
        return [self._stand_ins.get(name, parameter) for name, parameter in self._loss.named_parameters()]

    def draw(self, labels: Tensor) -> Tensor:
        """Draw the classes of a step, in ascending order: ``(S,)``, with all those of ``labels (B,)``."""
        own = labels.unique()
        if self._wanted == self._count:
            return torch.arange(self._count, device=labels.device)
        if len(own) >= self._wanted:
            return own
        keys = torch.rand(self._count, generator=self._generator, device=labels.device)
        keys[own] = 2.0
        return keys.topk(self._wanted).indices.sort().values

    @contextmanager
    def step(self, optimizer: torch.optim.Optimizer, labels: Tensor) -> Iterator[None]:
        """Have the optimiser's stand-ins be the rows of a step; at the end they are written back."""
        rows = self._rows = self.draw(labels)
        for name, stand_in in self._stand_ins.items():
            state, known = optimizer.state[stand_in], self._states[name]
            self._adopt(known, state, stand_in, before=True)
            stand_in.data = self._all[name][rows]
            state.update({key: values[rows] for key, values in known.items()})
        yield
        for name, stand_in in self._stand_ins.items():
            state, known = optimizer.state[stand_in], self._states[name]
            self._adopt(known, state, stand_in, before=False)
            self._all[name][rows] = stand_in.detach()
            for key, values in known.items():
                values[rows] = state[key]

    def _adopt(self, known: dict[str, Tensor], state: dict[str, Any], stand_in: Tensor, *, before: bool) -> None:
        """Make room for the rows of every class in what the optimiser begins to keep of a parameter.

        What it keeps before its first step (Adagrad) is what every row begins with; what it makes in a step begins
        at 0 for the rows that it hasn't seen.
        """
        for key, value in state.items():
            if key not in known and isinstance(value, Tensor) and value.shape == stand_in.shape:
                first = value[:1] if before else torch.zeros_like(value[:1])
                known[key] = first.expand(self._count, *value.shape[1:]).clone()

    def __call__(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        """Return the loss as if the classes of this step were all there are."""
        rows = self._rows
        seen: dict[str, Tensor] = {name: self._stand_ins.get(name, tensor) for name, tensor in self._all.items()}
        seen |= {name: tensor[rows] for name, tensor in self._all.items() if name not in self._stand_ins}
        with self._only(len(rows)):
            value: Tensor = functional_call(self._loss, seen, (embeddings, torch.searchsorted(rows, labels), noise))
        for name, tensor in self._all.items():
            if name not in self._stand_ins:  # running state
                tensor[rows] = seen[name].detach()
        return value

    @contextmanager
    def _only(self, count: int) -> Iterator[None]:
        for part in self._parts:
            part.num_classes = count
        try:
            yield
        finally:
            for part in self._parts:
                part.num_classes = self._count

    def state(self) -> dict[str, Any]:
        """Return the optimiser's state of all rows, and the stream; :meth:`restore` goes on from there."""
        return {"states": self._states, "stream": self._generator.get_state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state`."""
        for name, known in self._states.items():
            device = self._all[name].device
            known.update({key: values.to(device) for key, values in state["states"][name].items()})
        self._generator.set_state(state["stream"])


def _losses(loss: nn.Module) -> dict[str, Loss]:
    return {name: part for name, part in loss.named_modules() if isinstance(part, Loss)}


def _check(loss: Loss, num_classes: int, rows: list[str]) -> None:
    """Refuse a loss from elsewhere that seems to have more of each class than it says: its rows would be mixed up."""
    parts = _losses(loss)
    for prefix, part in parts.items():
        if part.spec is not None and part.spec.provider == NATIVE:
            continue
        for name, tensor in (*part.named_parameters(), *part.named_buffers()):
            full = f"{prefix}.{name}".lstrip(".")
            inner = any(full.startswith(f"{other}.") for other in parts if len(other) > len(prefix))
            if num_classes in tensor.shape and full not in rows and not inner:
                cure = f"add {name!r} to `class_rows` of {type(part).__name__}, or leave out training.class_sample"
                raise InvalidValueError("`class_sample` must know what has a row for each class", value=name, cure=cure)
