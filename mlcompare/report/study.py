"""What a report reads from a store: tables, study.json, the journal's dates, and the embeddings kept for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlcompare.comparison import Comparison, compare
from mlcompare.comparison.stored import load_spaces, load_study, load_symbols, read_store

__all__ = ["Embeddings", "Progress", "Study", "TestSamples", "open_study"]


@dataclass(frozen=True)
class Embeddings:
    """The sealed test samples as one final run embedded them: ``vectors (N, D)``, ``labels (N,)``, ``rows (N,)``."""

    fold: int
    vectors: np.ndarray
    labels: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True)
class TestSamples:
    """What a store keeps of the sealed samples: ``rows (N,)``, class names, and small images if it has."""

    __test__ = False  # not a test, whatever its name says
    rows: np.ndarray
    class_names: tuple[str, ...]
    images: np.ndarray | None  # (N, C, H, W) uint8

    def name_of(self, label: int) -> str:
        """Return a class's name, or its number where it has none."""
        return self.class_names[label] if 0 <= label < len(self.class_names) else f"class {label}"


@dataclass(frozen=True)
class Progress:
    """Finished trainings in the journal, and the first and last date (seconds since 1970), None where unknown."""

    jobs: int = 0
    first: float | None = None
    last: float | None = None


@dataclass(frozen=True)
class Study:
    """One store, read and compared.

    Attributes:
        known: study.json: the study file, hashes, spaces, versions; empty where there is none.
        spaces: loss → hyperparameter → its range, without fixed values.
    """

    path: Path
    name: str
    known: Mapping[str, Any]
    results: pd.DataFrame
    per_class: pd.DataFrame | None
    comparison: Comparison
    spaces: Mapping[str, Mapping[str, Any]]
    progress: Progress = field(default_factory=Progress)
    unfinished: str = ""  # what is not done, in words
    symbols: Mapping[str, Mapping[str, tuple[str, str]]] = field(default_factory=dict)

    @property
    def config(self) -> Mapping[str, Any]:
        return self.known.get("study", {})

    @property
    def nested(self) -> bool:
        """Whether its parts had a search each: their trials follow each other in the table, but in no search."""
        protocol = self.config.get("protocol", {})
        return protocol.get("outer_folds") is not None and protocol.get("outer_fold") is None

    @property
    def metric(self) -> str:
        return self.comparison.metric

    def trainings(self) -> pd.DataFrame:
        """Return one row of the results for each training, and for each baseline."""
        rows = self.results[self.results["kind"] != "curve"]
        return rows.drop_duplicates(["kind", "loss", "trial", "fold", "seed"])

    def data_notes(self) -> list[str]:
        """Return what the run noted of the data: files left out, duplicates; nothing in a store without such notes."""
        path = self.path / "artifacts" / "data_notes.json"
        with suppress(OSError, ValueError):
            return [str(note) for note in json.loads(path.read_text(encoding="utf-8"))]
        return []

    def label_suspects(self) -> list[dict[str, Any]]:
        """Return the labels that may be wrong, as the run left them; nothing in a store of an older version."""
        with suppress(OSError, ValueError):
            kept: list[dict[str, Any]] = json.loads(
                (self.path / "artifacts" / "label_suspects.json").read_text(encoding="utf-8")
            )
            return kept
        return []

    def symbol(self, loss: str, name: str) -> tuple[str, str]:
        """Return the symbol and the unit of a hyperparameter; empty where the store doesn't say."""
        return self.symbols.get(loss, {}).get(name, ("", ""))

    def searched(self, loss: str, name: str) -> Mapping[str, Any] | None:
        """Return the range that a hyperparameter was searched over, that of its numbers where it is a choice."""
        space = self.known.get("spaces", {}).get(loss, {}).get(name)
        if not isinstance(space, Mapping):
            return None
        if "low" in space:
            return space
        numbers = [v for v in space.get("values", ()) if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(numbers) < 2:
            return None
        return {"low": min(numbers), "high": max(numbers), "log": min(numbers) > 0, "values": sorted(numbers)}

    def challenges(self) -> dict[str, Any] | None:
        """Return what ``mlcompare challenge`` left, None where it was not run."""
        with suppress(OSError, ValueError):
            kept: dict[str, Any] = json.loads((self.path / "challenges.json").read_text(encoding="utf-8"))
            return kept
        return None

    def losses(self) -> list[str]:
        """Return the losses that have a score, best first; no baselines."""
        return [r["loss"] for r in self.comparison.records() if r["family"] != "baseline" and r["mean"] is not None]

    def selected_trial(self, loss: str) -> int | None:
        """Return the number of the trial that was selected, None if none was."""
        rows = self.results
        chosen = rows[(rows["loss"] == loss) & (rows["kind"] == "final") & (rows["source"] == "selected")]["trial"]
        return int(chosen.iloc[0]) if len(chosen) and pd.notna(chosen.iloc[0]) else None

    def embeddings(self, loss: str) -> list[Embeddings]:
        """Return the selected setting's embeddings, one for each fold that kept them."""
        folder = self.path / "artifacts" / "final" / loss / str(self.selected_trial(loss))
        found = []
        for path in sorted(folder.glob("fold*-seed0.npz"), key=lambda p: (len(p.name), p.name)):
            arrays = _arrays(path, ("embeddings", "labels", "rows"))
            if arrays is not None:
                fold = int(path.name.removeprefix("fold").split("-")[0])
                found.append(Embeddings(fold, arrays["embeddings"], arrays["labels"], arrays["rows"]))
        return found

    def test_samples(self) -> TestSamples | None:
        """Return what is known about the sealed samples."""
        arrays = _arrays(self.path / "artifacts" / "test_samples.npz", ("rows", "class_names"))
        if arrays is None:
            return None
        return TestSamples(arrays["rows"], tuple(map(str, arrays["class_names"])), arrays.get("images"))


def _arrays(path: Path, needed: tuple[str, ...]) -> dict[str, np.ndarray] | None:
    """Return the arrays of an ``.npz`` file, None where it is missing, half written or without what is needed."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file.items())
    except Exception:  # zipfile, numpy and the system each have errors of their own; a report does without the file
        return None
    return arrays if all(name in arrays for name in needed) else None


def open_study(store: Path) -> Study:
    """Read a store and compare its losses.

    Raises:
        StoreError: the store is missing, unfinished or damaged.
        DataError: its results hold no row.
    """
    results, per_class, objective = read_store(store)
    known, spaces = load_study(store), load_spaces(store)
    comparison = compare(results, per_class, metric=objective, spaces=spaces)
    name = known.get("study", {}).get("name") or comparison.study
    progress = _progress(store / "journal.jsonl")
    return Study(
        store, name, known, results, per_class, comparison, spaces, progress, symbols=load_symbols(store)
    )  # fmt: skip


def _progress(path: Path) -> Progress:
    """Count the finished trainings of a journal; a last line without an end is being written, and doesn't count."""
    jobs, times = 0, []
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except OSError:
        return Progress()
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if record.get("type") == "job":
            jobs += 1
            times.append(record.get("time"))
    times = [time for time in times if time is not None]
    return Progress(jobs, min(times, default=None), max(times, default=None))
