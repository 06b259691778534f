"""From samples to scores: embed and evaluate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mlcompare.data.levels import group_codes
from mlcompare.errors import InvalidValueError
from mlcompare.evaluation import (
    class_mean_scores,
    closed_set_accuracy,
    evaluate_with_classes,
    has_class_scores,
    per_class_accuracy,
)
from mlcompare.metrics import parse_metric
from mlcompare.training.job import VALIDATION_NEAREST, VALIDATION_ROWS, TrainingData, TrainingJob, TrainingResult
from mlcompare.training.prepare import Standardizer

__all__ = [
    "ACCURACY", "EmbedRows", "Evaluated", "class_scores", "embed", "evaluate", "evaluation_rows",
    "nearest_of_validation", "score",
    "validation_score",
]  # fmt: skip

ACCURACY = "accuracy"
CHUNK, IMAGES_ON_CPU = 512, 64  # samples embedded at a time
NEAREST = 5  # neighbours that are kept of a validation sample
ClassScores = Callable[[], Tensor]
Evaluated = tuple[dict[str, float], dict[Any, float]]  # metrics by name, the objective by label
EmbedRows = Callable[[np.ndarray], Tensor]  # rows of the dataset (N,) → embeddings (N, D)


def embed(
    encoder: nn.Module, standardize: Standardizer, samples: np.ndarray, rows: np.ndarray | None = None, *,
    chunk: int | None = None,
) -> Tensor:  # fmt: skip
    """Return embeddings ``(N, D)`` in float32 of samples, or of some ``rows`` of them, in evaluation mode.

    Only a chunk of the samples is read and held at a time.
    """
    encoder.eval()
    device = standardize.mean.device
    few = samples.ndim == 4 and device.type == "cpu"  # activations of few images stay in the cache: half the time
    chunk = chunk or (IMAGES_ON_CPU if few else CHUNK)
    parts = []
    with torch.no_grad():
        for i in range(0, len(samples if rows is None else rows), chunk):
            part = samples[i : i + chunk] if rows is None else samples[rows[i : i + chunk]]
            parts.append(encoder(standardize(torch.as_tensor(part, device=device))).float())
    return torch.cat(parts)


def evaluation_rows(job: TrainingJob, data: TrainingData) -> np.ndarray:
    """Return the rows a job is scored on; only a job that says ``test`` sees the sealed ones.

    Of more validation rows than ``search.validation_samples`` it is the fold's sample.
    """
    return data.splits.test if job.split == "test" else data.splits.folds[job.fold].scored


def score(
    job: TrainingJob, data: TrainingData, rows: np.ndarray, embeddings: Tensor, result: TrainingResult,
    class_scores: ClassScores, evaluated: Evaluated | None = None,
) -> None:  # fmt: skip
    """Fill the result's metrics; on the test split also the scores of each class.

    ``class_scores()`` gives ``(N, C)``, one column for each class the fold trains on; it is called where accuracy is
    asked for. ``evaluated`` is what :func:`evaluate` gave for these embeddings, where that is known.
    """
    labels, objective = data.dataset.labels[rows], job.metrics[0]
    found, by_class = evaluated or evaluate(job, data, rows, embeddings)
    if ACCURACY in job.metrics:
        logits = class_scores()
        columns = np.searchsorted(np.unique(data.splits.folds[job.fold].labels(data.dataset.labels)), labels)
        found = {**found, ACCURACY: closed_set_accuracy(logits, columns)}
    result.metrics = {name: found[name] for name in job.metrics if name in found}
    if job.split == "test":
        if objective == ACCURACY:
            label_of = dict(zip(columns.tolist(), labels.tolist()))
            by_class = {label_of[c]: value for c, value in per_class_accuracy(logits, columns).items()}
        classes = data.dataset.class_names
        result.per_class = {objective: {classes[int(c)]: float(v) for c, v in by_class.items()}}
    if job.keep:
        result.artifacts = {"embeddings": embeddings.cpu().numpy(), "labels": labels, "rows": rows}


def evaluate(job: TrainingJob, data: TrainingData, rows: np.ndarray, embeddings: Tensor) -> Evaluated:
    """Return a job's metrics but for accuracy, and on the test split its objective for each class, by label."""
    labels, objective = data.dataset.labels[rows], job.metrics[0]
    listed = data.splits.pairs if job.split == "test" else None
    pairs = None if listed is None else (listed.a, listed.b, listed.same, listed.fold)
    names = [name for name in job.metrics if name != ACCURACY]
    split_up = job.split == "test" and objective != ACCURACY and has_class_scores(objective) and pairs is None
    wanted = {metric.level for metric in map(parse_metric, names) if metric.level is not None}
    levels = {name: group_codes(data.dataset.levels, name)[labels] for name in wanted}
    try:
        return evaluate_with_classes(
            embeddings, labels, names, by_class=objective if split_up else None, pairs=pairs, levels=levels
        )
    except InvalidValueError:
        if objective != ACCURACY:
            raise
        return {}, {}  # one sample of each class makes no pairs; its class can still be told


def validation_score(job: TrainingJob, data: TrainingData, loss: nn.Module, embed_rows: EmbedRows) -> float:
    """Return the job's objective on the validation samples of learning curves, whatever it is scored on in the end.

    In a fold with more than 1000 they are a part of those that trials are scored on, and so are the training rows that
    class means are taken from.
    """
    looked_at = replace(job, split="validation", metrics=job.metrics[:1], keep=False)
    rows, result = data.splits.folds[job.fold].along, TrainingResult(job.key)
    embeddings = embed_rows(rows)
    score(
        looked_at, data, rows, embeddings, result,
        lambda: class_scores(looked_at, data, loss, embeddings, embed_rows, along=True),
    )  # fmt: skip
    return result.metrics.get(job.metrics[0], float("nan"))


def nearest_of_validation(job: TrainingJob, data: TrainingData, embed_rows: EmbedRows) -> dict[str, np.ndarray]:
    """Return rows ``(n,)`` of the fold's validation samples, at most 1000, and the rows ``(n, 5)`` nearest to each.

    By cosine, among themselves. Fewer than six samples have no five neighbours: nothing is returned then.
    """
    rows = data.splits.folds[job.fold].along
    if len(rows) <= NEAREST:
        return {}
    x = torch.nn.functional.normalize(embed_rows(rows), dim=1)
    similarity = (x @ x.T).fill_diagonal_(-torch.inf)
    return {VALIDATION_ROWS: rows, VALIDATION_NEAREST: rows[similarity.topk(NEAREST, dim=1).indices.cpu().numpy()]}


def class_scores(
    job: TrainingJob, data: TrainingData, loss: nn.Module | None, embeddings: Tensor, embed_rows: EmbedRows, *,
    along: bool = False,
) -> Tensor:  # fmt: skip
    """Return what closed-set predictions rank the classes by, ``(N, C)``.

    The logits of a loss that has class weights (no margin, no scale); else cosines with the class means of the fold's
    training embeddings (of a sample of them, where the fold has one; of a smaller one ``along`` the way): the nearest
    class mean.
    """
    logits = getattr(loss, "logits", None) if getattr(loss, "class_weights", None) is not None else None
    if loss is not None and logits is not None:
        loss.eval()
        with torch.no_grad():
            return logits(embeddings)
    fold = data.splits.folds[job.fold]
    _, targets = np.unique(fold.labels(data.dataset.labels), return_inverse=True)
    chosen = fold.curve_means if along and fold.curve_means is not None else fold.means
    rows, targets = (fold.train, targets) if chosen is None else (fold.train[chosen], targets[chosen])
    return class_mean_scores(embed_rows(rows), targets, embeddings)
