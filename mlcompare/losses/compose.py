"""What a study trains: one loss, a sum of losses, stages of them, or a wrapper around any of these but stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from mlcompare.losses.base import Loss
from mlcompare.losses.sums import Part, Slot, SumLoss, grouped, part_of, register_sum, slots
from mlcompare.registry import WRAPPERS, HyperparameterSpec, LossSpec, OptionSpec

__all__ = ["LossEntry", "Slot", "SumLoss", "Term", "register_sum", "slots"]


@dataclass(frozen=True)
class Term:
    """One loss of a study entry (or an entry inside it), and its share of the steps where the entry is staged."""

    loss: str | LossEntry
    share: float = 1.0


@dataclass(frozen=True)
class LossEntry:
    """A study entry: one loss, a ``sum`` of terms, ``stages`` trained one after the other, or a wrapper's name.

    A wrapper goes around its one term. Terms are losses, or entries themselves: a sum may hold a wrapped loss, and a
    wrapper may go around a sum; stages stand outermost alone. Stages are one training: the learning rate's schedule and
    warm-up run over all of its steps. Each stage begins with a fresh optimiser, and a loss that anneals does so over
    its own stage.

    Small, frozen and picklable: workers rebuild the losses from it.

    >>> entry = LossEntry("both", "sum", (Term("softmax"), Term("cosface")))
    >>> entry.family, sorted(entry.hyperparameters)
    ('margin', ['margin', 'scale', 'weight'])
    >>> sorted(LossEntry("nested", "matryoshka", (Term(entry),)).layout)
    ['heads', 'margin', 'prefixes', 'scale', 'weight']
    """

    name: str
    form: str = "single"
    terms: tuple[Term, ...] = field(default=())

    @property
    def wrapper(self) -> LossSpec | None:
        """What goes around the term, where the entry is wrapped."""
        return None if self.form in ("single", "sum", "stages") else WRAPPERS[self.form]

    @property
    def _parts(self) -> list[str | Part]:
        around: list[str | Part] = [] if self.wrapper is None else [self.wrapper]
        return [*around, *(term.loss for term in self.terms)]

    @property
    def layout(self) -> dict[str, Slot]:
        """Flat names of everything that may be set; a wrapper counts as term 0 of its entry."""
        return slots(self._parts, weighted=self.form == "sum")

    @property
    def hyperparameters(self) -> dict[str, HyperparameterSpec]:
        return {k: s.declaration for k, s in self.layout.items() if isinstance(s.declaration, HyperparameterSpec)}

    @property
    def options(self) -> dict[str, OptionSpec]:
        return {k: s.declaration for k, s in self.layout.items() if isinstance(s.declaration, OptionSpec)}

    @property
    def specs(self) -> list[LossSpec]:
        """The registered losses that it is made of, in order."""
        found: list[LossSpec] = []
        for term in self.terms:
            part: Any = part_of(term.loss)
            found += part.specs if isinstance(part, LossEntry) else [part]
        return found

    @property
    def wrapped(self) -> bool:
        """Whether a wrapper stands anywhere in it."""
        inside = (term.loss for term in self.terms if isinstance(term.loss, LossEntry))
        return self.wrapper is not None or any(entry.wrapped for entry in inside)

    @property
    def structure(self) -> tuple[Any, ...]:
        """What it is, whatever it is called: its form and those of its terms."""
        return (self.form, *(t.loss if isinstance(t.loss, str) else t.loss.structure for t in self.terms))

    @property
    def family(self) -> str:
        """That of the first term of a sum, of the last of the stages, of what is wrapped."""
        term: Any = part_of(self.terms[-1 if self.form == "stages" else 0].loss)
        return str(term.family)

    @property
    def batched(self) -> bool:
        """Whether a population of them trains as one program."""
        return all(spec.batched for spec in self.specs)

    @property
    def published(self) -> tuple[Mapping[str, float], ...]:
        return tuple(self.specs[0].published) if self.form == "single" else ()

    def build(
        self, values: Mapping[str, Any], *, generator: torch.Generator | None = None, **context: Any
    ) -> list[tuple[float, Loss]]:
        """Return ``[(share of the steps, loss), …]``: one item unless the entry is staged."""
        parts, layout = self._parts, self.layout
        if self.form == "sum":
            return [(1.0, SumLoss(parts, layout, generator=generator, **context, **values))]
        own = grouped(layout, values, len(parts))
        if self.wrapper is not None:
            inner = part_of(parts[1])

            def inside(embedding_dim: int) -> Loss:
                return inner.create(**{**context, "embedding_dim": embedding_dim}, generator=generator, **own[1])

            return [(1.0, self.wrapper.factory(inside, **context, **own[0]))]
        total = sum(term.share for term in self.terms)
        return [
            (term.share / total, part_of(part).create(generator=generator, **context, **given))
            for term, part, given in zip(self.terms, parts, own)
        ]

    def create(self, *, generator: torch.Generator | None = None, **given: Any) -> Loss:
        """Build the loss of an entry that stands inside another, which is not staged."""
        context = {key: given.pop(key, None) for key in ("num_classes", "embedding_dim", "class_counts")}
        [(_, loss)] = self.build(given, generator=generator, **context)
        return loss
