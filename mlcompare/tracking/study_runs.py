"""The journal as flat MLflow runs: what a person browses in the dashboard."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlcompare.tracking.parameters import logged_parameters
from mlcompare.tracking.records import Run
from mlcompare.training.job import artifact_path

__all__ = [
    "INPUT_EXAMPLE", "artifacts_of", "job_run", "run_identities", "runs_of", "sources_of", "trial_run",
]  # fmt: skip

Record = Mapping[str, Any]
INPUT_EXAMPLE = "input_example.npy"  # among a store's artifacts: what an encoder takes
Names = Mapping[str, Mapping[str, str]]  # loss → hyperparameter → logged name
NAMELESS: Names = {}


def _history(records: Iterable[Record]) -> list[tuple[str, float, int]]:
    """The training loss by step, averaged over the records that have it."""
    by_step: dict[int, list[float]] = {}
    for record in records:
        history = record.get("history") or {}
        for step, value in zip(history.get("step", []), history.get("loss", [])):
            if value is not None:
                by_step.setdefault(int(step), []).append(value)
    return [("train_loss", float(np.mean(values)), step) for step, values in sorted(by_step.items())]


def _curve(records: Iterable[Record], objective: str) -> list[tuple[str, float, int]]:
    """The learning curve by step, averaged over the records that have it."""
    by_step: dict[int, list[float]] = {}
    for record in records:
        curve = record.get("curve") or {}
        for step, value in zip(curve.get("step", []), curve.get(objective, [])):
            if value is not None:
                by_step.setdefault(int(step), []).append(value)
    return [(f"validation_{objective}", float(np.mean(values)), step) for step, values in sorted(by_step.items())]


def run_identities(fingerprint: Mapping[str, Any]) -> dict[str, str]:
    """Return what tells a study's runs from those of another study of the same name, loss by loss; ``""``: baselines.

    ``fingerprint`` is a store's, its study with every key that study files have.

    Two stores share an identity where the same key stands for the same training. What ``--extend`` may change is left
    out: more trials, seeds or losses are the same study; and so is how a path is written, for its content is told.
    """
    study = dict(fingerprint["study"])
    study["protocol"] = {**study["protocol"], "pairs": None}  # the splits are theirs
    if study["encoder"].get("weights") is not None:
        study["encoder"] = {**study["encoder"], "weights": fingerprint.get("weights")}  # frozen: the dataset is theirs
    search = {key: value for key, value in study["search"].items() if key != "trials"}
    parts = {key: study[key] for key in ("protocol", "corruption", "encoder", "training")}
    parts |= {"search": search, "dataset": fingerprint["dataset"], "splits": fingerprint["splits"]}
    spaces = {"": None, **fingerprint["spaces"]}
    texts = {loss: json.dumps([parts, space], sort_keys=True) for loss, space in spaces.items()}
    return {loss: hashlib.sha256(text.encode()).hexdigest()[:16] for loss, text in texts.items()}


def _tags(record: Record, kind: str, source: str | None) -> dict[str, str]:
    tags = {"loss": record["loss"], "family": record["family"], "kind": kind, "device": record["device"]}
    if source:
        tags["source"] = source
    if record["reason"]:
        tags["reason"] = record["reason"][:500]
    return tags


def trial_run(
    records: Sequence[Record], source: str, objective: str, *, stopped: int = 0, names: Names = NAMELESS
) -> Run:
    """Return one trial as one run: mean and standard deviation over its folds, and each fold's value in a tag.

    ``stopped`` is the number of folds after which a race left it behind; ``names`` are those that parameters are logged
    under (:func:`mlcompare.tracking.parameters.parameter_names`). Steps are those of trainings.
    """
    first = records[0]
    failed = [record for record in records if record["status"] == "failed"]
    metrics: list[tuple[str, float, int]] = []
    folds = {}
    if all(record["status"] == "ok" for record in records):
        for name in first["metrics"]:
            values = [record["metrics"].get(name, math.nan) for record in records]
            metrics += [(name, float(np.mean(values)), 0), (f"{name}_std", float(np.std(values)), 0)]
        folds = {"by_fold": " ".join(f"{record['metrics'][objective]:.4f}" for record in records)}
    seconds = sum(record["seconds"] for record in records)
    metrics += [("seconds", seconds, 0), *_history(records), *_curve(records, objective)]
    inside = next((record["reason"] for record in records if record["status"] == "stopped"), None)
    early = {"stopped": inside or f"behind after {stopped} folds"} if stopped else {}
    return Run(
        key=f"trial/{first['loss']}/{first['trial']}",
        name=f"{first['loss']} trial {first['trial']}",
        tags=_tags((failed or records)[0], "trial", source) | {"trial": str(first["trial"])} | folds | early,
        params=logged_parameters(first["hyperparameters"], names.get(first["loss"], {})),
        metrics=tuple(metric for metric in metrics if math.isfinite(metric[1])),
        status="FAILED" if failed else "KILLED" if stopped else "FINISHED",
        seconds=seconds,
    )


def job_run(
    record: Record, sources: list[str], objective: str, artifacts: tuple[tuple[str, str], ...] = (),
    *, names: Names = NAMELESS,
) -> Run:  # fmt: skip
    """Return one final training, or one baseline, as one run; its learning curve is of the validation samples."""
    place = [f"fold {record['fold']}"] if record["fold"] is not None else []
    place += [f"seed {record['seed']}"] if record["seed"] is not None else []
    source = "+".join(sources)
    metrics = [(f"test_{name}", value, 0) for name, value in record["metrics"].items()]
    metrics += [("seconds", record["seconds"], 0), *_history([record]), *_curve([record], objective)]
    extra = {"fold": str(record["fold"]), "seed": str(record["seed"])}
    return Run(
        key=record["key"],
        name=" ".join([record["loss"], source or record["kind"], *place]),
        tags=_tags(record, record["kind"], source) | extra,
        params=logged_parameters(record["hyperparameters"], names.get(record["loss"], {})),
        metrics=tuple(metric for metric in metrics if math.isfinite(metric[1])),
        status="FINISHED" if record["status"] == "ok" else "FAILED",
        seconds=record["seconds"],
        artifacts=artifacts,
    )


def runs_of(
    records: Sequence[Record], folds: int, objective: str, store: Path, names: Names = NAMELESS
) -> Iterable[Run]:
    """Yield every run that a journal amounts to; the tracker leaves out those it has."""
    asks = {(r["loss"], r["trial"]): r for r in records if r["type"] == "ask"}
    openings = {r["loss"]: r["settings"] for r in records if r["type"] == "opening"}
    trials: dict[tuple[str, int], list[Record]] = {}
    for record in records:
        if record["type"] != "job":
            continue
        if record["kind"] == "trial":
            trials.setdefault((record["loss"], record["trial"]), []).append(record)
        else:
            sources = sources_of(record, openings)
            yield job_run(record, sources, objective, artifacts_of(record, openings, store), names=names)
    stopped = {(r["loss"], r["trial"]): r["folds"] for r in records if r["type"] == "stop"}
    for key, folded in trials.items():
        if len(folded) == folds or key in stopped:
            ordered = sorted(folded, key=lambda r: r["fold"])
            yield trial_run(ordered, asks[key]["source"], objective, stopped=stopped.get(key, 0), names=names)


def sources_of(record: Record, openings: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return what a final run stands for: default, selected, or both."""
    settings = openings.get(record["loss"], {}) if record["kind"] == "final" else {}
    return [source for source, trial in settings.items() if trial == record["trial"]]


def artifacts_of(record: Record, openings: Mapping[str, Mapping[str, int]], store: Path) -> tuple:
    """Return the weights of a winner, the selected setting's first seed, and an example of its input."""
    if "selected" not in sources_of(record, openings):
        return ()
    place = {key: record[key] for key in ("trial", "fold", "seed")}
    weights = store / "artifacts" / f"{artifact_path(record['loss'], **place)}.pt"
    files = (weights, store / "artifacts" / INPUT_EXAMPLE)
    return tuple((str(file), "weights") for file in files if file.is_file()) if weights.is_file() else ()
