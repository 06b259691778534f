"""Where to start without an earlier study of one's own: settings that did well in situations that everyone can make.

``priors.parquet`` holds a table of trainings (``tests/benchmarks/search_table.py``): what each loss scored at 200
settings and more in each situation. A search learns from it (``search.start: priors``). ``priors.json`` holds what
people read: for each loss a portfolio of settings with what they gained and where, and how flat the optimum is along
each dimension; for the losses that are not in the table a portfolio of what their kind shares: learning rate, rate and
decay of class weights, and images a class. Both are made by ``python tests/benchmarks/search.py --priors``.
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
from mlcompare.search.earlier import Earlier, complements, within
from mlcompare.search.needs import HEAD_KEYS, K, needs_pairs
from mlcompare.search.proposals import Start, default_values
from mlcompare.search.space import Choice, Range, Space

__all__ = ["MEASURED", "Flat", "earlier_tables", "flat_range", "group_of", "nearness", "prior_starts", "shipped"]

FILE, TABLES = "priors.json", "priors.parquet"
TRAINED = ("lr", *sorted(HEAD_KEYS), K)  # what losses of a kind share
MEASURED = ("linear", "mlp")  # encoders on which priors save trainings, on several datasets
SIZE = 8  # settings that a search can begin with


@cache
def shipped() -> Mapping[str, Any]:
    """Return the priors that come with the package: ``situations``, ``losses`` and ``groups``."""
    found: dict[str, Any] = json.loads(files("mlcompare.search").joinpath(FILE).read_text(encoding="utf-8"))
    return found


def prior_starts(
    entry: LossEntry, space: Space, classes: int | None = None, dataset: str | None = None, encoder: str | None = None
) -> tuple[Start, ...]:
    """Return the settings to begin with, the best first; those of its kind for a loss that has no table of its own.

    Situations count by how near their number of classes is to ``classes`` (:func:`nearness`); those made of ``dataset``
    don't count, nor do those of another kind of ``encoder``. What a study fixes stays as it is; a value beyond a range
    of the study becomes the range's end.

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
    names = [name for name in rows[0]["gains"] if _tells(name, dataset, encoder)]
    if not names:
        return ()
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


@cache
def _tables() -> Mapping[str, tuple[Earlier, ...]]:
    import pandas as pd

    with files("mlcompare.search").joinpath(TABLES).open("rb") as file:
        rows = pd.read_parquet(file)
    found: dict[str, list[Earlier]] = {}
    for (loss, situation), mine in rows.groupby(["loss", "situation"], observed=True, sort=False):
        settings = tuple(json.loads(values) for values in mine["values"])
        found.setdefault(str(loss), []).append(Earlier(str(situation), settings, mine["score"].to_numpy(float)))
    return {loss: tuple(tables) for loss, tables in found.items()}


def earlier_tables(entry: LossEntry, dataset: str | None = None, encoder: str | None = None) -> tuple[Earlier, ...]:
    """Return what the shipped situations tell of a loss; of its kind's training, for a loss that has no table.

    Situations made of ``dataset`` are left out: they have seen classes that a study of it seals. So are those of
    another kind of ``encoder``: heads (linear, mlp) and networks that learn from pixels want other settings.

    >>> from mlcompare.losses.compose import Term
    >>> tables = earlier_tables(LossEntry("mine", "single", (Term("arcface"),)), "digits")
    >>> "margin" in tables[0].settings[0], any("digits" in table.situation for table in tables)
    (True, False)
    """
    known = _tables()
    if entry.form == "single" and entry.terms[0].loss in known:
        return tuple(table for table in known[str(entry.terms[0].loss)] if _tells(table.situation, dataset, encoder))
    members = shipped()["groups"].get(group_of(entry), {}).get("losses", ())
    found = (table for loss in members for table in known[loss] if _tells(table.situation, dataset, encoder))
    return tuple(
        Earlier(table.situation, tuple(_training_of(values) for values in table.settings), table.scores)
        for table in found
    )


def _tells(situation: str, dataset: str | None, encoder: str | None) -> bool:
    """Whether a situation is of other data, and of the same kind of encoder, where these are said."""
    known = shipped()["situations"][situation]
    alike = encoder is None or (known["encoder"] in MEASURED) == (encoder in MEASURED)
    return alike and bool(known["dataset"] != dataset)


def _training_of(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in TRAINED}


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


def flat_range(entry: LossEntry, dimension: str, dataset: str | None = None) -> Flat | None:
    """Return where a dimension hardly matters to a loss, or None if that isn't known.

    Situations made of ``dataset`` don't count.

    >>> str(Flat(0.2, 0.5, 0.9)), str(Flat(None, None, 0.99)), str(Flat(1, 1, 0.8))
    ('0.2 – 0.5', 'any', '1')
    """
    known = shipped()["losses"].get(entry.terms[0].loss, {}) if entry.form == "single" else {}
    found = known.get("flat_without", {}).get(dataset, known.get("flat", {})).get(dimension)
    return None if found is None else Flat(**found)
