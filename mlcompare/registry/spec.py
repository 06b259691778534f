"""The record of one registered loss."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlcompare.errors import InvalidValueError, MLCompareError, UnknownNameError, did_you_mean
from mlcompare.registry.declarations import HyperparameterSpec, by_name
from mlcompare.registry.registry import Record

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Generator, Tensor

    from mlcompare.losses.base import Loss

__all__ = ["LossSpec"]


@dataclass(frozen=True, kw_only=True)
class LossSpec(Record):
    """One registered loss: what :func:`list_losses` returns.

    ``family`` is ``metric`` or ``margin``; ``group`` is finer (pair, triplet, proxy, softmax, margin, …); ``needs``
    names the context that :func:`create_loss` demands; ``published`` holds settings that papers report (enqueued as
    first trials), each a dict, or a :class:`~mlcompare.registry.Published` with its source; ``term`` marks losses that
    mean nothing alone.
    """

    family: str = "metric"
    group: str = ""
    hyperparameters: Mapping[str, HyperparameterSpec] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    batched: bool = True
    stochastic: bool = False
    published: tuple[Mapping[str, float], ...] = ()
    term: bool = False
    bibtex: str = ""

    @property
    def defaults(self) -> dict[str, float]:
        """Every hyperparameter at the paper's setting."""
        return {name: h.default for name, h in self.hyperparameters.items()}

    @property
    def label_form(self) -> str:
        """What it takes for labels: a ``class`` each, ``levels`` of a hierarchy, or ``sets`` of labels."""
        return str(getattr(self.factory, "label_form", "class"))

    @property
    def year(self) -> int | None:
        """Of the work it is from, as its reference says."""
        found = re.search(r"(?<![\d.:])(?:19|20)\d\d(?![\d.])", self.reference)
        return int(found.group()) if found else None

    @property
    def venue(self) -> str:
        """Where that work appeared: a conference's short name, a journal, or arXiv; empty without a BibTeX entry."""
        entry = self.bibtex.split("\n\n")[0]
        found = re.search(r"^  (?:booktitle|journal) = {(.*)},?$", entry, flags=re.MULTILINE)
        place = found.group(1) if found else ""
        short = re.search(r"\(([A-Za-z]+)\)", place)
        return "arXiv" if place.startswith("arXiv") else short.group(1) if short else place

    def create(
        self,
        *,
        num_classes: int | None = None,
        embedding_dim: int | None = None,
        class_counts: Tensor | npt.ArrayLike | None = None,
        generator: Generator | None = None,
        **values: Any,
    ) -> Loss:
        """Build the loss; see :func:`create_loss`."""
        self.usable("loss")
        known = {**self.hyperparameters, **self.options}
        try:
            values = by_name(values, known)
            for key, value in values.items():
                if key not in known:
                    raise UnknownNameError(f"unknown hyperparameter {key!r}", cure=did_you_mean(key, known))
                known[key].check(key, value)
        except MLCompareError as error:
            raise error.at(self.name) from None
        context = {"num_classes": num_classes, "embedding_dim": embedding_dim, "class_counts": class_counts}
        missing = [need for need in self.needs if context[need] is None]
        if missing:
            raise InvalidValueError(
                f"`{missing[0]}` is needed", value=f"{missing[0]}=None", cure=f"pass {missing[0]}=…", place=self.name
            )
        return self.factory(**context, generator=generator, **values)
