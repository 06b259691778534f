"""What a reader should know of a study's data: files left out, and duplicates that undo the sealing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from mlcompare.data.duplicates import find_duplicates
from mlcompare.data.near_duplicates import near_duplicate_note
from mlcompare.files import write_atomically
from mlcompare.training import TrainingData

__all__ = ["DATA_NOTES", "data_notes", "keep_data_notes"]

DATA_NOTES = "data_notes.json"  # in a store's artifacts; the report reads it


def data_notes(data: TrainingData) -> list[str]:
    """Return the notes of the dataset's reader, and what duplicates there are."""
    sealed = data.splits.test
    near = near_duplicate_note(data.dataset, sealed)
    exact = find_duplicates(data.dataset, sealed).sentences(data.dataset)
    return [*data.dataset.notes, *exact, *([near] if near else [])]


def keep_data_notes(store: Path, data: TrainingData, more: Sequence[str] = ()) -> list[str]:
    """Leave ``artifacts/data_notes.json`` in a store, once, for the report; return the notes, ``more`` among them."""
    path = store / "artifacts" / DATA_NOTES
    if path.is_file():
        return [str(note) for note in json.loads(path.read_text(encoding="utf-8"))]
    notes = [*data_notes(data), *more]
    write_atomically(path, json.dumps(notes, ensure_ascii=False).encode())
    return notes
