"""Scores of each sealed class: in the journal's lines while classes are few, else in files that the lines name."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from mlcompare.errors import StoreError
from mlcompare.files import make_folder, write_atomically
from mlcompare.training import TrainingJob

__all__ = ["class_scores", "journaled_scores", "missing_scores"]

MOST = 1000  # classes of a journal line: beyond it a line would grow with the dataset

Scores = Mapping[str, Mapping[str, float]]  # metric → class → value


def journaled_scores(store: Path, job: TrainingJob, scores: Scores) -> dict[str, Any]:
    """Return what a job's journal line says of its class scores; very many are on the disk before it names them.

    Args:
        store: the folder that the line is journaled in.
        scores: ``{metric: {class: value}}``, finite.
    """
    if all(len(by_class) <= MOST for by_class in scores.values()):
        return {"per_class": {metric: dict(by_class) for metric, by_class in scores.items()}}
    relative = PurePosixPath("artifacts", "classes", f"{job.key}.parquet")
    path = store / relative
    make_folder(path.parent)
    buffer = io.BytesIO()
    frames = [
        pd.DataFrame({"metric": metric, "class": list(found), "value": list(found.values())})
        for metric, found in scores.items()
    ]
    pd.concat(frames).to_parquet(buffer, index=False)
    write_atomically(path, buffer.getvalue())
    return {"per_class": {}, "per_class_file": str(relative)}


def class_scores(record: Mapping[str, Any], store: Path | None) -> Scores:
    """Return the class scores of a journal line, from its file where it names one.

    Raises:
        StoreError: the file is missing or damaged.
    """
    if "per_class_file" not in record or store is None:
        return record.get("per_class") or {}
    path = store / record["per_class_file"]
    try:
        frame = pd.read_parquet(path)
        return {
            str(metric): dict(zip(rows["class"], rows["value"])) for metric, rows in frame.groupby("metric", sort=False)
        }
    except (OSError, ValueError, KeyError) as error:  # Arrow's faults are ValueErrors
        value = "missing" if not path.exists() else type(error).__name__
        cure = "bring the file back from a copy of the store"
        raise StoreError("a journal's files must be there", value=value, cure=cure, place=str(path)) from None


def missing_scores(records: list[dict[str, Any]], store: Path) -> list[str]:
    """Return the files of class scores that a journal names and the store lacks."""
    named = [record["per_class_file"] for record in records if "per_class_file" in record]
    return [name for name in named if not (store / name).is_file()]
