"""What the journal says of a finished training, and the files that it leaves in a store."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlcompare.files import whole_file
from mlcompare.study.class_scores import journaled_scores
from mlcompare.study.store import Store
from mlcompare.training import TrainingJob, TrainingResult, artifact_path, is_fitted

__all__ = ["job_record", "keep_artifacts", "reached"]


def job_record(job: TrainingJob, result: TrainingResult, store: Path) -> dict[str, Any]:
    """Return the journal's line of a finished training: JSON, without NaN.

    Scores of very many classes go to a file of the ``store``.
    """
    raw = job.kind == "baseline" and job.baseline is not None and not is_fitted(job.baseline, job.metrics)
    return {
        "type": "job",
        "key": job.key,
        "kind": job.kind,
        "loss": job.name,
        "family": "baseline" if job.loss is None else job.loss.family,
        "trial": job.trial,
        "fold": None if raw else job.fold,
        "seed": None if raw else job.seed,
        "split": job.split,
        "hyperparameters": dict(job.hyperparameters),
        "status": result.status,
        "reason": result.reason,
        "metrics": _finite(result.metrics),
        **journaled_scores(store, job, {name: _finite(scores) for name, scores in result.per_class.items()}),
        "history": _finite_history(result.history),
        "step": result.step,
        "curve": _finite_history(result.curve),
        "health": _finite(result.health),
        "seconds": round(result.seconds, 4),
        "peak_memory": result.peak_memory,
        "device": result.device,
        "time": round(time.time(), 3),
        **({} if result.retried is None else {"retried": result.retried}),
    }


def reached(record: Mapping[str, Any], objective: str) -> float | None:
    """Return a finished training's objective; where a race stopped it, the last value of its curve.

    >>> reached({"status": "stopped", "metrics": {}, "curve": {"step": [5], "map_at_r": [0.2]}}, "map_at_r")
    0.2
    """
    if record.get("status") == "stopped":
        last: float | None = record["curve"][objective][-1]
        return last
    found: float | None = record["metrics"].get(objective)
    return found


def keep_artifacts(store: Store, job: TrainingJob, artifacts: dict[str, Any]) -> None:
    """Write embeddings and weights of a training, whole and on the disk before the journal speaks of them."""
    import torch

    path = store.artifact(artifact_path(job.name, trial=job.trial, fold=job.fold, seed=job.seed))
    arrays = {key: value for key, value in artifacts.items() if key != "weights"}
    with whole_file(path.with_name(f"{path.name}.npz")) as file:
        np.savez_compressed(file, **arrays)
    if "weights" in artifacts:
        weights = {name: torch.tensor(array) for name, array in artifacts["weights"].items()}
        with whole_file(path.with_name(f"{path.name}.pt")) as file:
            torch.save(weights, file)


def _finite(values: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if np.isfinite(value)}


def _finite_history(history: dict[str, list[float]]) -> dict[str, list[float | None]]:
    return {name: [v if np.isfinite(v) else None for v in values] for name, values in history.items()}
