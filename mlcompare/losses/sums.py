"""Sums of losses (arcface + λ·center), and sums that papers named (``center``, ``ring``, …)."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mlcompare.errors import InvalidValueError
from mlcompare.losses.base import Loss, refuse_typo
from mlcompare.losses.label_forms import form_of, labels_for
from mlcompare.registry import Hyperparameter, HyperparameterSpec, LossSpec, OptionSpec, get_spec, register

__all__ = ["TERM_WEIGHT", "Part", "Slot", "SumLoss", "grouped", "part_of", "register_sum", "slots"]

TERM_WEIGHT = Hyperparameter(
    1.0, low=1e-4, high=1.0, log=True, minimum=0.0, symbol="λ", description="weight of the term in the sum"
)


class Part(Protocol):
    """What a loss is composed of: a registered loss, or an entry that is composed itself."""

    @property
    def name(self) -> str: ...
    @property
    def hyperparameters(self) -> Mapping[str, HyperparameterSpec]: ...
    @property
    def options(self) -> Mapping[str, OptionSpec]: ...
    def create(self, **context_and_values: Any) -> Loss: ...


def part_of(loss: str | Part) -> Part:
    """Return the registered loss of a name; what is a part stays as it is."""
    return get_spec(loss) if isinstance(loss, str) else loss


@dataclass(frozen=True)
class Slot:
    """Where a hyperparameter or option of a composed loss lives: ``name`` of term number ``term``."""

    term: int
    name: str
    declaration: HyperparameterSpec | OptionSpec
    of_sum: bool = False


def slots(losses: Sequence[str | Part], *, weighted: bool) -> dict[str, Slot]:
    """Return the flat names of the terms' hyperparameters and options.

    A name that two terms share is prefixed by the loss's name in both. With ``weighted``, every term after the first
    that has no ``weight`` of its own is given one by the sum.

    Raises:
        InvalidValueError: a loss stands twice.

    >>> sorted(slots(["softmax", "cosface"], weighted=True))
    ['margin', 'scale', 'weight']
    """
    parts = [part_of(loss) for loss in losses]
    names = [loss if isinstance(loss, str) else loss.name for loss in losses]
    for loss, count in Counter(names).items():
        if count > 1:
            raise InvalidValueError("a composed loss names each loss once", value=f"{loss} {count} times")
    found: list[Slot] = []
    for number, part in enumerate(parts):
        declarations: dict[str, HyperparameterSpec | OptionSpec] = {**part.hyperparameters, **part.options}
        found += [Slot(number, name, declaration) for name, declaration in declarations.items()]
        if weighted and number > 0 and "weight" not in declarations:
            found.append(Slot(number, "weight", TERM_WEIGHT, of_sum=True))
    times = Counter(slot.name for slot in found)
    return {slot.name if times[slot.name] == 1 else f"{names[slot.term]}_{slot.name}": slot for slot in found}


def grouped(layout: Mapping[str, Slot], values: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """Split flat ``values`` into one dict for each term."""
    parts: list[dict[str, Any]] = [{} for _ in range(count)]
    for key, value in values.items():
        parts[layout[key].term][layout[key].name] = value
    return parts


class SumLoss(Loss):
    """``L = L_0 + Σ_{i≥1} λ_i · L_i``: a sum of registered losses, each with its own weights and state.

    Built by :func:`~mlcompare.registry.create_loss` for the papers' own sums and by ``sum`` entries of a study. A term
    that declares ``weight`` applies it itself; the others are weighted here.
    """

    group = "sum"
    terms: Any  # an nn.ModuleList, whose items are losses

    def __init__(
        self,
        losses: Sequence[str | Part],
        layout: Mapping[str, Slot],
        *,
        generator: torch.Generator | None = None,
        **given: Any,
    ) -> None:
        context = {key: given.pop(key, None) for key in ("num_classes", "embedding_dim", "class_counts")}
        super().__init__(**context)
        values = {name: given.get(name, slot.declaration.default) for name, slot in layout.items()}
        parts = grouped(layout, values, len(losses))
        own = {(slot.term, slot.name) for slot in layout.values() if slot.of_sum}
        terms = []
        for number, (loss, part) in enumerate(zip(losses, parts)):
            weight = part.pop("weight") if (number, "weight") in own else 1.0
            self.register_buffer(f"term_weight_{number}", torch.tensor(float(weight), dtype=torch.float64))
            terms.append(part_of(loss).create(**context, generator=generator, **part))
        self.terms = nn.ModuleList(terms)
        self.label_form = form_of((term.label_form for term in terms), place="sum")
        self._layout = dict(layout)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a hyperparameter or option of a term by its flat name: ``loss.weight = 0.01``."""
        slot = self.__dict__.get("_layout", {}).get(name)
        if slot is None or isinstance(value, Tensor):
            if "_layout" in self.__dict__ and not hasattr(self, name) and isinstance(value, int | float | str):
                refuse_typo(name, {key: slot.declaration for key, slot in self._layout.items()}, type(self).__name__)
            super().__setattr__(name, value)
            return
        try:
            value = slot.declaration.check(name, value)
        except InvalidValueError as error:
            raise error.at(type(self).__name__) from None
        if slot.of_sum:
            getattr(self, f"term_weight_{slot.term}").fill_(value)
        else:
            setattr(self.terms[slot.term], slot.name, value)

    def __getattr__(self, name: str) -> Any:
        slot = self.__dict__.get("_layout", {}).get(name)
        if slot is None:
            return super().__getattr__(name)
        return (
            super().__getattr__(f"term_weight_{slot.term}")
            if slot.of_sum
            else getattr(self.terms[slot.term], slot.name)
        )

    @property
    def stochastic(self) -> bool:
        return any(term.stochastic for term in self.terms)

    def references(self, batch_size: int) -> int:
        return max(term.references(batch_size) for term in self.terms)

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        total = torch.zeros((), dtype=embeddings.dtype, device=embeddings.device)
        for number, term in enumerate(self.terms):
            given = {"class_weights": self.class_weights} if term.uses_class_weights else {}
            own = noise[:, : term.references(len(labels))] if noise is not None and term.stochastic else None
            value = term(embeddings, labels_for(term.label_form, self.label_form, labels), own, **given)
            total = total + getattr(self, f"term_weight_{number}") * value
        return total

    @property
    def class_weights(self) -> Tensor | None:
        """Those of the first term that owns a head."""
        for term in self.terms:  # a plain loop: torch.compile of torch 2.6 can't follow `next`
            if hasattr(term, "class_weights"):
                return term.class_weights
        return None

    def logits(self, embeddings: Tensor) -> Tensor:
        """Return the class scores ``(B, C)`` of the first term that owns a head."""
        heads = [term for term in self.terms if hasattr(term, "logits")]
        if not heads:
            raise InvalidValueError("`logits` needs a term with a head", place=type(self).__name__)
        return heads[0].logits(embeddings)

    def set_progress(self, progress: Tensor | float) -> None:
        super().set_progress(progress)
        for term in self.terms:
            term.set_progress(progress)

    def set_teacher(self, embeddings: Tensor) -> None:
        for term in self.terms:
            term.set_teacher(embeddings)


def register_sum(
    name: str,
    losses: Sequence[str | type[Loss]],
    *,
    family: str,
    reference: str,
    doc: str,
    overrides: Mapping[str, HyperparameterSpec] | None = None,
    published: tuple[Mapping[str, float], ...] = (),
    bibtex: str = "",
) -> LossSpec:
    """Register a paper's own sum of registered losses, given by name or class, under ``name``.

    ``overrides`` replaces declarations (a default, a range) by their flat names.
    """
    names = tuple(loss if isinstance(loss, str) else _registered_name(loss) for loss in losses)
    layout = slots(names, weighted=True)
    for key, hyperparameter in (overrides or {}).items():
        old = layout[key]
        layout[key] = Slot(old.term, old.name, hyperparameter, old.of_sum)
    specs = [get_spec(loss) for loss in names]
    caller = str(sys._getframe(1).f_globals.get("__name__", ""))
    return register(
        LossSpec(
            name=name,
            family=family,
            group="sum",
            reference=reference,
            factory=partial(SumLoss, names, layout),
            hyperparameters={
                k: s.declaration for k, s in layout.items() if isinstance(s.declaration, HyperparameterSpec)
            },
            options={k: s.declaration for k, s in layout.items() if isinstance(s.declaration, OptionSpec)},
            needs=tuple(sorted({need for spec in specs for need in spec.needs}, reverse=True)),
            batched=all(spec.batched for spec in specs),
            stochastic=any(spec.stochastic for spec in specs),
            published=published,
            doc=doc,
            bibtex=bibtex,
            provider="native" if caller.startswith("mlcompare.") else "plugin",
        )
    )


def _registered_name(loss: type[Loss]) -> str:
    if loss.spec is None:
        raise InvalidValueError("a sum is of registered losses", value=loss.__name__, cure="register it first")
    return loss.spec.name
