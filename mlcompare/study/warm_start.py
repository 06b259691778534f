"""Start a search from what earlier studies found: their stores are read once, and what was taken is journaled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mlcompare.data.duplicates import contents
from mlcompare.errors import MLCompareError, StoreError
from mlcompare.metrics import higher_is_better
from mlcompare.search.earlier import Earlier, portfolio
from mlcompare.search.proposals import Start
from mlcompare.study.config import StudyConfig, validated
from mlcompare.study.entries import parse_entry
from mlcompare.study.journal import JOURNAL, read_journal
from mlcompare.study.plan import StudyPlan
from mlcompare.study.sealed_samples import CONTENTS
from mlcompare.study.store import Store
from mlcompare.study.stored_study import STUDY

__all__ = ["read_start", "started_from"]

MOST = 8  # settings taken over for a loss; how many of them are tried depends on the budget


def started_from(plan: StudyPlan, store: Store, given: Sequence[str | Path]) -> tuple[StudyPlan, list[str]]:
    """Return the plan with what earlier stores found put before other known settings, and what a reader should know.

    The first call journals what was taken; a resumed study goes by the journal, wherever those stores are by then.

    Raises:
        StoreError: an earlier store can't be read, has nothing to tell, or isn't what this study was begun with.
    """
    record = next((r for r in store.records if r["type"] == "start"), None)
    if given and record is None and any(r["type"] == "ask" for r in store.records):
        cure = "use another --store"
        raise StoreError(
            "a search starts from earlier studies once", value="begun without", cure=cure, place="--start-from"
        )
    if given and record is None:
        record = read_start(plan, given)
        store.append(record)
    elif given and record is not None:
        known, wanted = ({s["journal"] for s in record["stores"]}, {_digest(_journal(path)) for path in given})
        if known != wanted:
            cure = "leave --start-from out to resume, or use another --store"
            value = "begun from " + ", ".join(s["path"] for s in record["stores"])
            raise StoreError("a store keeps what it started from", value=value, cure=cure, place="--start-from")
    if record is None:
        return plan, []
    taken = {
        name: tuple(Start(values, "earlier") for values in record["settings"].get(name, ())) for name in plan.losses
    }
    losses = {name: replace(loss, first=(*taken[name], *loss.first)) for name, loss in plan.losses.items()}
    return replace(plan, losses=losses), list(record["notes"])


def read_start(plan: StudyPlan, stores: Sequence[str | Path]) -> dict[str, Any]:
    """Return the record of what a study takes from earlier stores: settings for each loss, provenance, and notes.

    Raises:
        StoreError: a store can't be read, or has no trial of any of the study's losses by the study's objective.
    """
    told: dict[str, list[Earlier]] = {name: [] for name in plan.losses}
    provenance, notes = [], []
    hashes = contents(plan.data.dataset)
    for given in stores:
        path = Path(given).expanduser()
        config, records = _opened(path)
        found = _trials(plan, config, records)
        if not found:
            objective = config.search.objective
            value = f"{', '.join(config.losses)} by {objective}" if objective != plan.objective else "no finished trial"
            cure = f"start from a study of one of {', '.join(plan.losses)} by {plan.objective}"
            raise StoreError(
                "an earlier study must have tried one of these losses", value=value, cure=cure, place=str(path)
            )
        for name, earlier in found.items():
            told[name].append(earlier)
        counted = {name: len(earlier.settings) for name, earlier in found.items()}
        provenance.append(
            {"path": str(path), "study": config.name, "journal": _digest(_journal(path)), "trials": counted}
        )
        notes += _overlap(path, config.name, plan, hashes)
    settings = {
        name: [suggestion.values for suggestion in portfolio(plan.losses[name].space, earlier, MOST)]
        for name, earlier in told.items()
    }
    return {"type": "start", "stores": provenance, "settings": settings, "notes": notes}


def _journal(path: str | Path) -> Path:
    return Path(path).expanduser() / JOURNAL


def _digest(journal: Path) -> str:
    """What was journaled, as a short hash: the same store, wherever it lies."""
    return hashlib.sha256(journal.read_bytes()).hexdigest()[:16] if journal.is_file() else "none"


def _opened(path: Path) -> tuple[StudyConfig, list[dict[str, Any]]]:
    known = path / STUDY
    if not known.is_file() or not _journal(path).is_file():
        cure = "give the folder of a study that was run (it has study.json and journal.jsonl)"
        raise StoreError("an earlier store must be there", value="no such store", cure=cure, place=str(path))
    try:
        study = json.loads(known.read_text(encoding="utf-8"))["study"]
    except (ValueError, KeyError):
        raise StoreError("study.json is JSON with a study", value="garbage", place=str(known)) from None
    return validated(study, str(known)), read_journal(_journal(path))


def _trials(plan: StudyPlan, config: StudyConfig, records: Sequence[Mapping[str, Any]]) -> dict[str, Earlier]:
    """Return the whole trials of each loss that both studies define alike, larger is better."""
    if config.search.objective != plan.objective:
        return {}
    sign = 1 if higher_is_better(plan.objective) else -1
    asked = {(r["loss"], r["trial"]): r["hyperparameters"] for r in records if r["type"] == "ask"}
    scores: dict[tuple[str, int], list[float]] = {}
    for record in records:
        if record["type"] == "job" and record["kind"] == "trial" and record["status"] == "ok":
            value = record["metrics"].get(plan.objective)
            if value is not None:
                scores.setdefault((record["loss"], record["trial"]), []).append(sign * value)
    found = {}
    for name, loss in plan.losses.items():
        if name not in config.losses or not _alike(loss.entry, name, config.losses[name]):
            continue
        whole = [key for key, values in scores.items() if key[0] == name and len(values) == config.protocol.folds]
        if whole:
            means = np.array([np.mean(scores[key]) for key in whole])
            found[name] = Earlier(config.name, tuple(asked[key] for key in whole), means)
    return found


def _alike(entry: Any, name: str, given: Any) -> bool:
    """Whether an entry of another study is the same loss, whatever it fixes or searches."""
    try:
        other, _ = parse_entry(name, given, training={}, base={})
    except MLCompareError:
        return False
    return bool(other.structure == entry.structure)


def _overlap(path: Path, name: str, plan: StudyPlan, hashes: np.ndarray | None) -> list[str]:
    """Say how many of this study's sealed samples an earlier search has seen."""
    kept = path / "artifacts" / CONTENTS
    if hashes is None or not kept.is_file():
        return [f"whether {name}, which this search starts from, has seen sealed samples can't be told"]
    with np.load(kept) as known:
        seen = np.isin(hashes[plan.data.splits.test], known["seen"])
    if not seen.any():
        return []
    labels = plan.data.dataset.labels[plan.data.splits.test]
    classes, of = len(np.unique(labels[seen])), len(np.unique(labels))
    return [
        f"{name}, which this search starts from, has seen {int(seen.sum())} of the {len(seen)} sealed samples "
        f"({classes} of {of} classes) in its own search: they are not sealed for the settings taken from it"
    ]
