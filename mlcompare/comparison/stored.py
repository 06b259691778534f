"""What a comparison reads from a store: the two tables, the study's objective, and the ranges that were searched."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from mlcompare.comparison.table import load_per_class, load_results
from mlcompare.errors import StoreError

__all__ = ["load_spaces", "load_study", "load_symbols", "read_store"]


def load_study(store: str | Path) -> dict[str, Any]:
    """Return ``<store>/study.json``: the study file, hashes, spaces, versions; empty where there is none.

    Raises:
        StoreError: it isn't a JSON object.
    """
    path = Path(store).expanduser() / "study.json"
    if not path.is_file():
        return {}
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        known = None
    if not isinstance(known, dict):
        cure = "restore it from a copy of the store"
        raise StoreError("study.json must be a JSON object", value="something else", cure=cure, place=str(path))
    return known


def load_spaces(store: str | Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Return loss → hyperparameter → its searched range ``{"low", "high", "log"}``; no fixed values, no choices."""
    return {
        loss: {name: d for name, d in space.items() if isinstance(d, dict) and "low" in d}
        for loss, space in load_study(store).get("spaces", {}).items()
    }


def load_symbols(store: str | Path) -> dict[str, dict[str, tuple[str, str]]]:
    """Return loss → hyperparameter → its symbol and its unit; nothing in a store of an older version."""
    with suppress(OSError, ValueError, TypeError, AttributeError):
        kept = json.loads((Path(store).expanduser() / "artifacts" / "symbols.json").read_text(encoding="utf-8"))
        return {loss: {name: (told[0], told[1]) for name, told in names.items()} for loss, names in kept.items()}
    return {}


def read_store(store: str | Path) -> tuple[pd.DataFrame, pd.DataFrame | None, str | None]:
    """Return the results table, the scores by class, and the study's objective.

    Raises:
        StoreError: the store is missing, unfinished or damaged.
        DataError: its results hold no row.
    """
    if not Path(store).expanduser().is_dir():
        cure = "check the path, or run a study first"
        raise StoreError("the store must exist", value="no such directory", cure=cure, place=str(store))
    objective = load_study(store).get("study", {}).get("search", {}).get("objective")
    return load_results(store), load_per_class(store), objective
