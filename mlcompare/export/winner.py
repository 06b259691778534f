"""Which training of a store is exported: a final run of the selected setting, with its weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlcompare.data.hints import hint
from mlcompare.errors import InvalidValueError, StoreError, UnknownNameError, did_you_mean
from mlcompare.study.config import StudyConfig, validated
from mlcompare.study.journal import JOURNAL, read_journal
from mlcompare.study.moved_paths import PLACES, with_places
from mlcompare.study.nested import refuse_nested
from mlcompare.study.stored_study import STUDY
from mlcompare.training.job import artifact_path, job_key

__all__ = ["Winner", "find_winner"]


@dataclass(frozen=True)
class Winner:
    """One final run of a loss's selected setting."""

    config: StudyConfig
    known: dict[str, Any]
    record: dict[str, Any]
    weights: Path


def find_winner(store: Path, loss: str, fold: int) -> Winner:
    if not (store / STUDY).is_file():
        cure = hint(store) or "check the path, or run a study first"
        raise StoreError("a store holds study.json", value="none there", cure=cure, place=str(store))
    try:
        known = json.loads((store / STUDY).read_text(encoding="utf-8"))
        config = with_places(validated(known["study"], str(store / STUDY)), known.get(PLACES) or {})
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise StoreError("study.json is readable", value=type(error).__name__, place=str(store / STUDY)) from None
    refuse_nested(store, config, "export")
    if loss not in config.losses:
        raise UnknownNameError(f"the study has no loss {loss!r}", cure=did_you_mean(loss, config.losses))
    if not 0 <= fold < config.protocol.folds:
        raise InvalidValueError(f"`fold` must be in 0 … {config.protocol.folds - 1}", value=f"fold={fold}")
    records = read_journal(store / JOURNAL)
    openings = [r for r in records if r["type"] == "opening" and r["loss"] == loss]
    if not openings:
        cure = "run the study to its end first"
        raise StoreError(f"{loss} must have a selected setting", value="none yet", cure=cure, place=str(store))
    trial = openings[-1]["settings"]["selected"]
    if trial is None:
        raise StoreError(f"{loss} must have a selected setting", value="every trial of it failed", place=str(store))
    key = job_key("final", loss, trial=trial, fold=fold, seed=0)
    record = next((r for r in records if r["type"] == "job" and r["key"] == key), None)
    weights = store / "artifacts" / f"{artifact_path(loss, trial=trial, fold=fold, seed=0)}.pt"
    if record is None or record["status"] != "ok" or not weights.is_file():
        got = "not trained yet" if record is None else record["reason"] or f"no {weights.name}"
        cure = "run the study to its end, or choose another --fold"
        raise StoreError(f"the final run {key} must have left weights", value=got, cure=cure, place=str(store))
    return Winner(config, known, record, weights)
