"""The field's symbol and the unit of each loss's hyperparameters, left in a store for those who only read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlcompare.errors import MLCompareError
from mlcompare.files import write_atomically
from mlcompare.study.entries import parse_entry

__all__ = ["SYMBOLS", "keep_symbols", "symbols_of"]

SYMBOLS = "symbols.json"  # in a store's artifacts; the report reads it


def symbols_of(losses: Mapping[str, Any]) -> dict[str, dict[str, tuple[str, str]]]:
    """Return loss → hyperparameter → symbol and unit; a loss whose plug-in is not loaded is left out.

    >>> symbols_of({"mine": {"loss": "cosface", "m": 0.2}})
    {'mine': {'scale': ('s', ''), 'margin': ('m', 'cosine')}}
    """
    found = {}
    for name, given in losses.items():
        with suppress(MLCompareError):
            entry, _ = parse_entry(name, given, training={}, base={})
            found[name] = {key: (h.symbol or "", h.unit or "") for key, h in entry.hyperparameters.items()}
    return found


def keep_symbols(store: Path, losses: Mapping[str, Any]) -> None:
    """Leave ``artifacts/symbols.json`` in a store, as its losses are now."""
    path = store / "artifacts" / SYMBOLS
    text = json.dumps(symbols_of(losses), ensure_ascii=False).encode()
    if not path.is_file() or path.read_bytes() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
