"""Views of the journal: what happened, as tables."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mlcompare.files import write_atomically
from mlcompare.study.class_scores import class_scores
from mlcompare.study.sealed_samples import sealed_class_sizes

__all__ = ["per_class_frame", "results_frame", "write_parquet", "write_tables"]

RESULT_COLUMNS = {
    "study": "string",
    "loss": "string",
    "family": "string",
    "kind": "string",
    "source": "string",
    "trial": "Int64",
    "fold": "Int64",
    "seed": "Int64",
    "step": "Int64",
    "split": "string",
    "metric": "string",
    "value": "float64",
    "status": "string",
    "reason": "string",
    "seconds": "float64",
    "peak_memory": "Int64",
    "device": "string",
    "hyperparameters": "string",
}
PER_CLASS_COLUMNS = ("study", "loss", "family", "kind", "source", "fold", "seed", "class", "samples", "metric", "value")

Record = Mapping[str, Any]


def _jobs(records: Iterable[Record]) -> list[tuple[Record, str | None]]:
    """Return each finished job with its source; a final of a selected default counts as both."""
    records = list(records)
    asks = {(r["loss"], r["trial"]): r for r in records if r["type"] == "ask"}
    openings = {r["loss"]: r["settings"] for r in records if r["type"] == "opening"}
    found: list[tuple[Record, str | None]] = []
    for record in records:
        if record["type"] != "job":
            continue
        if record["kind"] == "trial":
            found.append((record, asks[record["loss"], record["trial"]]["source"]))
        elif record["kind"] == "final":
            settings = openings[record["loss"]]
            found += [(record, source) for source, trial in settings.items() if trial == record["trial"]]
        else:
            found.append((record, None))
    return sorted(found, key=lambda pair: _order(*pair))


def _order(record: Record, source: str | None) -> tuple:
    kinds = ("baseline", "trial", "final")
    missing = -1
    return (
        kinds.index(record["kind"]), record["loss"], source if record["kind"] == "final" else "",
        missing if record["trial"] is None else record["trial"],
        missing if record["fold"] is None else record["fold"],
        missing if record["seed"] is None else record["seed"],
    )  # fmt: skip


def results_frame(study: str, objective: str, records: Iterable[Record]) -> pd.DataFrame:
    """Return the results table: one row for each job and metric; a failed job has one row, of the objective.

    ``step`` is how many steps the scored weights were trained for. A training's learning curve follows as rows of the
    kind ``curve``, one for each measured step: the objective on the validation samples (``split``) with the ``trial``,
    ``fold`` and ``seed`` of its training; a search's trainings have no seed.
    """
    rows = []
    for record, source in _jobs(records):
        common = {key: record[key] for key in RESULT_COLUMNS if key in record}
        common |= {"study": study, "source": source, "hyperparameters": json.dumps(record["hyperparameters"])}
        metrics = record["metrics"] or {objective: None}
        rows += [{**common, "metric": metric, "value": value} for metric, value in metrics.items()]
        rows += [{**common, **point} for point in _curve_rows(record, objective)]
    frame = pd.DataFrame(rows, columns=list(RESULT_COLUMNS))
    return frame.astype(RESULT_COLUMNS)


def _curve_rows(record: Record, objective: str) -> list[dict[str, Any]]:
    """Return what a learning curve's rows have of their own; time and memory are counted with the training's score."""
    curve = record.get("curve") or {}  # a journal of an older version has none
    own = {"kind": "curve", "split": "validation", "metric": objective, "seconds": None, "peak_memory": None}
    own |= {"hyperparameters": None}
    points = zip(curve.get("step", []), curve.get(objective, []))
    return [{**own, "step": step, "value": value} for step, value in points if record["status"] != "failed"]


def per_class_frame(
    study: str, records: Iterable[Record], sizes: Mapping[str, int] | None = None, *, store: Path | None = None
) -> pd.DataFrame:
    """Return the scores of each sealed class: one row for each final or baseline job, metric and class.

    ``sizes`` says how many sealed samples each class has, where that is known. Scores of very many classes are read
    from the files of the ``store``.

    Raises:
        StoreError: such a file is missing or damaged.
    """
    rows, sizes = [], sizes or {}
    for record, source in _jobs(records):
        common = {"study": study, **{key: record[key] for key in ("loss", "family", "kind", "fold", "seed")}}
        for metric, by_class in class_scores(record, store).items():
            rows += [
                {
                    **common,
                    "source": source,
                    "class": name,
                    "samples": sizes.get(name),
                    "metric": metric,
                    "value": value,
                }
                for name, value in by_class.items()
            ]
    frame = pd.DataFrame(rows, columns=list(PER_CLASS_COLUMNS))
    text = dict.fromkeys(("study", "loss", "family", "kind", "source", "class", "metric"), "string")
    return frame.astype({**text, "fold": "Int64", "seed": "Int64", "samples": "Int64", "value": "float64"})


def write_tables(store: Path, study: str, objective: str, records: Iterable[Record]) -> None:
    """Write ``results.parquet`` and ``per_class.parquet``, each whole or not at all."""
    records = list(records)
    by_class = per_class_frame(study, records, sealed_class_sizes(store), store=store)
    write_parquet(store / "results.parquet", results_frame(study, objective, records))
    write_parquet(store / "per_class.parquet", by_class)


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    if not path.is_file() or path.read_bytes() != buffer.getvalue():  # an unchanged table keeps its date
        write_atomically(path, buffer.getvalue())
