"""An exported model in MLflow's model registry."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlcompare.errors import InvalidValueError, StoreError
from mlcompare.tracking.records import Run
from mlcompare.tracking.tracker import Tracker

__all__ = ["check_model_name", "register_model"]

FOLDER = "model"  # among the run's artifacts


def check_model_name(name: str | None) -> None:
    """Refuse a name that MLflow can't register, before anything is trained or written.

    >>> check_model_name("faces/encoder")
    Traceback (most recent call last):
    mlcompare.errors.InvalidValueError: --register: a model's name has no slash, colon or quote, got 'faces/encoder'
    """
    if name is not None and (not name.strip() or any(mark in name for mark in "/:'\"")):
        rule = "a model's name has no slash, colon or quote"
        raise InvalidValueError(rule, value=repr(name), place="--register")


def register_model(tracker: Tracker, folder: Path, card: Mapping[str, Any], name: str) -> str:
    """Log an exported folder as a run ``kind=model`` and register it; return its version.

    Args:
        tracker: of the store that it was exported from; it is closed.
        folder: what ``export`` wrote.
        card: its card.
        name: the registered model's; each other folder is another version of it.

    Raises:
        StoreError: MLflow could not register it.
    """
    check_model_name(name)
    files = sorted(path for path in folder.iterdir() if path.is_file())
    content = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    run = Run(
        key=f"model/{name}/{content[:16]}",
        name=f"{card['loss']} model {name}",
        tags={"kind": "model", "loss": card["loss"], "family": card["family"], "study": card["study"]},
        params={"trial": card["trial"], "fold": card["fold"], "seed": card["seed"]},
        metrics=tuple((f"test_{key}", float(value), 0) for key, value in card["sealed_test_metrics"].items()),
        artifacts=tuple((str(path), FOLDER) for path in files),
        model=name,
    )
    tracker.log(run)
    fault = tracker.close()
    if fault or name not in tracker.versions:
        cure = "the folder is whole; export into another one with --register once MLflow answers"
        raise StoreError("MLflow must register the model", value=fault or "nothing", cure=cure, place=name)
    return tracker.versions[name]
