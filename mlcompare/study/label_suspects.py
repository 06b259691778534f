"""Labels that may be wrong: samples that the final models put among another class, listed and never removed.

Each final model embeds validation samples of its fold, which it was not trained on. It *doubts* a label where at least
four of the five nearest other samples are of one other class and none is of the label's own. A label is listed where at
least two models saw the sample and two thirds of them doubt it for the same class.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlcompare.data import Dataset
from mlcompare.files import write_atomically
from mlcompare.training.job import VALIDATION_NEAREST, VALIDATION_ROWS, artifact_path

__all__ = ["LABEL_SUSPECTS", "Suspect", "find_suspects", "keep_suspects", "suspects_sentence"]

LABEL_SUSPECTS = "label_suspects.json"  # in a store's artifacts; the report reads it
AGREEING, SHARE, FEWEST_MODELS = 4, 2 / 3, 2
SHOWN = 3  # suspects that are named
MOST = 200  # that are kept, those that most models doubt first


@dataclass(frozen=True)
class Suspect:
    """A sample whose label may be wrong: what most models take it for, and how many of how many."""

    row: int
    name: str
    label: str
    looks_like: str
    doubting: int
    models: int


def find_suspects(dataset: Dataset, nearest: Iterable[tuple[np.ndarray, np.ndarray]]) -> list[Suspect]:
    """Return the suspects, those that the largest share of models doubts first.

    Args:
        nearest: for each model the rows ``(n,)`` that it embedded, and the rows ``(n, 5)`` nearest to each.

    >>> labels = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0])  # the last one lies among class 1
    >>> data = Dataset("x", np.zeros((11, 1), np.float32), labels, ("cat", "dog"))
    >>> model = np.array([10]), np.array([[5, 6, 7, 8, 9]])
    >>> [(s.row, s.label, s.looks_like, s.doubting, s.models) for s in find_suspects(data, [model, model])]
    [(10, 'cat', 'dog', 2, 2)]
    """
    models: Counter[int] = Counter()
    doubts: dict[int, Counter[int]] = defaultdict(Counter)
    for rows, neighbours in nearest:
        models.update(rows.tolist())
        own, theirs = dataset.labels[rows], dataset.labels[neighbours]
        for row, label, around in zip(rows.tolist(), own.tolist(), theirs.tolist()):
            other, count = Counter(around).most_common(1)[0]
            if count >= AGREEING and label not in around:
                doubts[row][other] += 1
    found = []
    for row, by_class in doubts.items():
        other, doubting = by_class.most_common(1)[0]
        if models[row] >= FEWEST_MODELS and doubting >= SHARE * models[row]:
            names, label = dataset.class_names, int(dataset.labels[row])
            found.append(Suspect(row, dataset.name_of(row), names[label], names[other], doubting, models[row]))
    return sorted(found, key=lambda s: (-s.doubting / s.models, -s.doubting, s.row))[:MOST]


def keep_suspects(store: Path, dataset: Dataset, records: Iterable[Mapping[str, Any]]) -> list[Suspect]:
    """Leave ``artifacts/label_suspects.json`` in a store whose final trainings are done; return the suspects."""
    records = list(records)
    selected = {r["loss"]: r["settings"]["selected"] for r in records if r["type"] == "opening"}
    nearest = []
    for record in records:
        final = record["type"] == "job" and record["kind"] == "final" and record["seed"] == 0
        if not final or record["status"] != "ok" or record["trial"] != selected.get(record["loss"]):
            continue
        path = artifact_path(record["loss"], trial=record["trial"], fold=record["fold"], seed=0)
        file = store / "artifacts" / f"{path}.npz"
        if file.is_file():
            with np.load(file) as arrays:
                if VALIDATION_ROWS in arrays:
                    nearest.append((arrays[VALIDATION_ROWS], arrays[VALIDATION_NEAREST]))
    found = find_suspects(dataset, nearest)
    text = json.dumps([asdict(suspect) for suspect in found], ensure_ascii=False)
    write_atomically(store / "artifacts" / LABEL_SUSPECTS, text.encode())
    return found


def suspects_sentence(suspects: list[Suspect]) -> str:
    """Say how many labels may be wrong, and name the first ones."""
    first = "; ".join(f"{s.name} lies among {s.looks_like}" for s in suspects[:SHOWN])
    more = f"; and {len(suspects) - SHOWN} more" if len(suspects) > SHOWN else ""
    counted = "1 label may" if len(suspects) == 1 else f"{len(suspects)} labels may"
    return f"{counted} be wrong by the final models' neighbours: {first}{more}"
