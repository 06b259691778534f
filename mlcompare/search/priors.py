"""Where to start without an earlier study of one's own: settings that did well in situations that everyone can make.

``priors.json`` holds, for each loss of a table of trainings (``tests/benchmarks/search_table.py``), a portfolio of
settings with what they gained and where, and how flat the optimum is along each dimension. For the losses that are not
in the table it has what their kind shares: a portfolio of learning rate, rate and decay of class weights, and images a
class. It is made by ``python tests/benchmarks/search.py --priors``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from mlcompare.losses.compose import LossEntry
from mlcompare.search.earlier import complements, within
from mlcompare.search.needs import needs_pairs
from mlcompare.search.proposals import Start, default_values
from mlcompare.search.space import Choice, Range, Space

__all__ = ["Flat", "flat_range", "group_of", "nearness", "prior_starts", "shipped"]

FILE = "priors.json"
SIZE = 8  # settings that a search can begin with


@cache
def shipped() -> Mapping[str, Any]:
    """Return the priors that come with the package: ``situations``, ``losses`` and ``groups``."""
    found: dict[str, Any] = json.loads(files("mlcompare.search").joinpath(FILE).read_text(encoding="utf-8"))
    return found


def prior_starts(entry: LossEntry, space: Space, classes: int | None = None) -> tuple[Start, ...]:
    """Return the settings to begin with, the best first; those of its kind for a loss that has no table of its own.

    Situations count by how near their number of classes is to ``classes`` (:func:`nearness`). What a study fixes stays
    as it is; a value beyond a range of the study becomes the range's end.

    >>> from mlcompare.losses.compose import Term
    >>> prior_starts(LossEntry("mine", "single", (Term("triplet"),)), {"margin": 0.2})
    ()
    """
    if not any(isinstance(dimension, Range | Choice) for dimension in space.values()):
        return ()
    known = shipped()
    told = known["losses"].get(entry.terms[0].loss) if entry.form == "single" else None
    rows = (told or known["groups"].get(group_of(entry)) or {}).get("settings", ())
    if not rows:
        return ()
    names = list(rows[0]["gains"])
    gain = np.array([[row["gains"][name] for row in rows] for name in names])
    weights = nearness([known["situations"][name]["classes"] for name in names], classes)
    default = default_values(space)
    starts: list[Start] = []
    for number in complements(gain, SIZE, weights):
        values = within(space, {**default, **rows[number]["values"]})
        if values != default and all(values != start.values for start in starts):
            starts.append(Start(values, "prior"))
    return tuple(starts)


def nearness(known: Sequence[int], classes: int | None) -> np.ndarray:
    """Return how much each situation counts, by its number of classes: half as much for each factor of ten between.

    >>> nearness([10, 100, 1000], 100)
    array([0.5, 1. , 0.5])
    """
    if classes is None:
        return np.ones(len(known))
    return 0.5 ** np.abs(np.log10(np.asarray(known) / classes))


def group_of(entry: LossEntry) -> str:
    """Return the kind of loss whose training a loss shares: ``pairs``, ``margin`` (class weights) or ``proxies``."""
    return "pairs" if needs_pairs(entry) else "margin" if entry.family == "margin" else "proxies"


@dataclass(frozen=True)
class Flat:
    """Between which values of a dimension a loss can be within 1 % of its best, other dimensions at theirs.

    ``low`` and ``high`` are None where it can be anywhere; ``worst`` is the share of the best in the worst tenth.
    """

    low: Any
    high: Any
    worst: float

    def __str__(self) -> str:
        if self.low is None:
            return "any"
        ends = [f"{end:.3g}" if isinstance(end, float) else str(end) for end in (self.low, self.high)]
        return " – ".join(dict.fromkeys(ends))


def flat_range(entry: LossEntry, dimension: str) -> Flat | None:
    """Return where a dimension hardly matters to a loss, or None if that isn't known.

    >>> str(Flat(0.2, 0.5, 0.9)), str(Flat(None, None, 0.99)), str(Flat(1, 1, 0.8))
    ('0.2 – 0.5', 'any', '1')
    """
    known = shipped()["losses"].get(entry.terms[0].loss, {}) if entry.form == "single" else {}
    found = known.get("flat", {}).get(dimension)
    return None if found is None else Flat(**found)
