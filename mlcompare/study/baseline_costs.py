"""How long the baselines of a study will take: fits of a few samples, and how much more the whole folds are."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from math import prod

import numpy as np

from mlcompare.grouped import rows_by_class
from mlcompare.study.plan import StudyPlan
from mlcompare.training import BASELINES, TrainingData, TrainingJob
from mlcompare.training.baselines import (
    EXACT_PRODUCTS,
    FEWEST_AXES,
    MOST_ROWS,
    MOST_WORK,
    BaselineSpec,
    svm_size,
)
from mlcompare.training.scoring import EmbedRows

__all__ = ["baseline_seconds"]

FEW_CLASSES, FEW_EACH = 8, 15  # of the probe: small enough for an SVM of thousands of features
PROBED = 64  # rows that are embedded


def baseline_seconds(plan: StudyPlan, scoring: float) -> float:
    """Return the seconds of all baselines, one after the other; ``scoring`` is what scoring embeddings once takes."""
    jobs = plan.baseline_jobs()
    times = Counter(str(job.baseline) for job in jobs)
    first = {str(job.baseline): job for job in reversed(jobs)}
    return sum(times[name] * (_seconds(job, plan.data) + scoring) for name, job in first.items())


def _seconds(job: TrainingJob, data: TrainingData) -> float:
    """The seconds that one baseline takes to learn from a fold and to embed the sealed samples; 0 where it fails."""
    spec, few, rows = BASELINES.usable(str(job.baseline)), _few(job, data), data.splits.test[:PROBED]
    try:
        spec.factory(job, few)(rows)  # also pays for imports
        learning, embed_rows = _timed(spec, job, few)
        began = time.perf_counter()
        embed_rows(rows)
        embedding = (time.perf_counter() - began) * len(data.splits.test) / len(rows)
        if not spec.fitted:
            return learning + embedding
        if not spec.decides:
            return learning * _pca_work(job, data) / _pca_work(job, few) + embedding
        whole, part = svm_size(job, data), svm_size(job, few)
        most = max(MOST_WORK, whole[0] * whole[1] * FEWEST_AXES)
        reduced = 0.0
        if prod(whole) > most:
            learning_axes, _ = _timed(BASELINES["pca"], job, few)
            reduced = learning_axes * _pca_work(job, data) / _pca_work(job, few)
        return learning * min(prod(whole), most) / prod(part) + reduced + embedding
    except Exception:  # `run` gives the reason in the table, and goes on
        return 0.0


def _timed(spec: BaselineSpec, job: TrainingJob, data: TrainingData) -> tuple[float, EmbedRows]:
    began = time.perf_counter()
    embed_rows = spec.factory(job, data)
    return time.perf_counter() - began, embed_rows


def _pca_work(job: TrainingJob, data: TrainingData) -> float:
    """The multiplications of a decomposition; of what else learns, what it grows with at most."""
    samples, width = min(len(data.splits.folds[job.fold].train), MOST_ROWS), prod(data.dataset.sample_shape)
    return min(float(samples) * width * min(samples, width), EXACT_PRODUCTS)


def _few(job: TrainingJob, data: TrainingData) -> TrainingData:
    """The same data, where the job's fold has a few training samples of a few classes."""
    fold = data.splits.folds[job.fold]
    labels = fold.labels(data.dataset.labels)
    classes = rows_by_class(np.unique(labels, return_inverse=True)[1])
    chosen = np.concatenate([rows[:FEW_EACH] for rows in classes[:FEW_CLASSES]])
    part = replace(fold, train=fold.train[chosen], train_labels=labels[chosen])
    folds = tuple(part if number == job.fold else other for number, other in enumerate(data.splits.folds))
    return replace(data, splits=replace(data.splits, folds=folds))
