"""A store's study as ``study.json`` has it: read without checking it, which takes torch and seconds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlcompare.errors import StoreError

__all__ = ["OUTER", "STUDY", "in_parts", "stored_study"]

STUDY = "study.json"
OUTER = "outer"  # a nested study's parts
NEEDED = (("protocol", "folds"), ("search", "objective"), ("final", "seeds"))  # every version has stored these


def stored_study(store: Path) -> dict[str, Any] | None:
    """Return the study of a store, None where it has none yet.

    Raises:
        StoreError: its ``study.json`` isn't one.
    """
    path = store / STUDY
    if not path.is_file():
        return None
    try:
        study = dict(json.loads(path.read_text(encoding="utf-8"))["study"])
        for section, key in NEEDED:
            study[section][key]
        return {**study, "name": str(study["name"]), "losses": dict(study["losses"])}
    except (ValueError, TypeError, KeyError):
        cure = "restore it from a copy of the store"
        rule = "study.json must be a JSON object with a whole study"
        raise StoreError(rule, value="something else", cure=cure, place=str(path)) from None


def in_parts(protocol: Mapping[str, Any]) -> bool:
    """Whether each part of the classes is to be sealed once, with a search of its own."""
    return protocol.get("outer_folds") is not None and protocol.get("outer_fold") is None
