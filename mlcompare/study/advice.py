"""Where to begin with a loss, and why: what did well in other situations, else what is published, else the paper's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlcompare.search.priors import Flat, flat_range, prior_starts
from mlcompare.search.proposals import default_values
from mlcompare.study.spaces import LossPlan

__all__ = ["Advice", "advice_for"]

REASONS = {
    "default": "the paper's setting",
    "prior": "best in other situations",
    "published": "published, or what suits such heads and batches (arXiv:2503.13045)",
}


@dataclass(frozen=True)
class Advice:
    """A setting to begin with (what is searched of it), the reason, and where a dimension hardly matters."""

    values: Mapping[str, Any]
    reason: str
    flat: Mapping[str, Flat]


def advice_for(loss: LossPlan, classes: int, dataset: str | None = None, encoder: str | None = None) -> Advice:
    """Return where to begin with a loss of a plan that trains an encoder on so many classes of a dataset."""
    known = (*prior_starts(loss.entry, loss.space, classes, dataset, encoder), *loss.first)
    values = {**default_values(loss.space), **(known[0].values if known else {})}
    flat = {name: flat_range(loss.entry, name, dataset) for name in loss.dimensions}
    return Advice(
        {name: values[name] for name in loss.dimensions},
        REASONS[known[0].source if known else "default"],
        {name: ends for name, ends in flat.items() if ends is not None},
    )
