"""The selected setting trained once more, on every development class: for use, where a fold's encoder left some out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlcompare.data import Dataset, Fold, Splits
from mlcompare.errors import StoreError
from mlcompare.execution.devices import cpu_count
from mlcompare.export.winner import Winner
from mlcompare.study.plan import StudyPlan
from mlcompare.study.spaces import plan_losses
from mlcompare.study.study_data import read_teachers
from mlcompare.training import TrainingData, TrainingJob, derive_seed, train

__all__ = ["development_splits", "refit"]


def development_splits(splits: Splits) -> Splits:
    """Return splits of one fold that trains on every sample that is not sealed, with the labels of the dataset."""
    rows = splits.development
    return replace(splits, folds=(Fold(rows, rows),))


def refit(winner: Winner, dataset: Dataset, splits: Splits, store: Path) -> tuple[Winner, dict[str, Tensor]]:
    """Train the selected setting on all that is not sealed; return it as a winner, and its weights.

    The steps are the study's (of the step that was chosen, where it selects the best). Validation has no part in it: no
    sample is left for that.

    Args:
        dataset: what the encoder is trained on: the study's dataset, or its features where the encoder is frozen.
        splits: those of :func:`development_splits`.

    Raises:
        StoreError: the training fails, or its trainer keeps no weights.
    """
    config, record = winner.config, winner.record
    losses = plan_losses(config, str(store))
    data = TrainingData(dataset, splits, read_teachers(losses, dataset, str(store)))
    plan = StudyPlan(config, data, losses, threads=cpu_count(), place=str(store))
    job = _job(plan, record, len(splits.folds[0].train))
    result = train(job, plan.data)
    weights = (result.artifacts or {}).get("weights")
    if result.status != "ok" or weights is None:
        got = result.reason or "no weights"
        raise StoreError("the training on all development samples must succeed", value=got, place=str(store))
    trained = np.unique(dataset.labels[splits.folds[0].train])
    told = {"samples": len(splits.folds[0].train), "classes": len(trained), "steps": result.step}
    found = {**record, "metrics": result.metrics, "fold": None, "seed": None, "refit": told}
    return replace(winner, record=found), {name: torch.as_tensor(array) for name, array in weights.items()}


def _job(plan: StudyPlan, record: dict[str, Any], samples: int) -> TrainingJob:
    values, training = dict(record["hyperparameters"]), plan.training
    changes: dict[str, Any] = {"evaluations": 0, "select": "last"}
    if training.select == "best" and record.get("step"):
        changes["steps"] = record["step"]
        values.pop("steps", None)  # where the study searched it
    job = plan.final_jobs(record["loss"], record["trial"], values)[0]
    state = derive_seed("refit", plan.config.search.seed, samples)
    return replace(job, training=job.training.replaced(**changes), random_state=state)
