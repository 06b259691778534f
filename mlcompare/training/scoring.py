"""From samples to scores: embed, evaluate; and the baselines that stand in every table."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor, nn

from mlcompare.evaluation import evaluate_embeddings, per_class_scores
from mlcompare.training.job import TrainingData, TrainingJob, TrainingResult
from mlcompare.training.prepare import Standardizer, build_encoder

__all__ = ["embed", "evaluation_rows", "run_baseline", "score"]


def embed(encoder: nn.Module, standardize: Standardizer, samples: np.ndarray, chunk: int = 512) -> Tensor:
    """Return embeddings ``(N, D)`` in float32, in evaluation mode, chunk by chunk."""
    encoder.eval()
    device = standardize.mean.device
    with torch.no_grad():
        parts = [
            encoder(standardize(torch.as_tensor(samples[i : i + chunk], device=device))).float()
            for i in range(0, len(samples), chunk)
        ]
    return torch.cat(parts)


def evaluation_rows(job: TrainingJob, data: TrainingData) -> np.ndarray:
    """Return the rows a job is scored on; only a job that says ``test`` sees the sealed ones."""
    return data.splits.test if job.split == "test" else data.splits.folds[job.fold].validation


def score(job: TrainingJob, data: TrainingData, rows: np.ndarray, embeddings: Tensor, result: TrainingResult) -> None:
    """Fill the result's metrics; on the test split also the scores of each class."""
    labels = data.dataset.labels[rows]
    result.metrics = evaluate_embeddings(embeddings, labels, metrics=job.metrics)
    if job.split == "test":
        names, objective = data.dataset.class_names, job.metrics[0]
        by_class = per_class_scores(embeddings, labels, objective)
        result.per_class = {objective: {names[int(c)]: float(v) for c, v in by_class.items()}}
    if job.keep:
        result.artifacts = {"embeddings": embeddings.cpu().numpy(), "labels": labels, "rows": rows}


def run_baseline(job: TrainingJob, data: TrainingData) -> TrainingResult:
    """Score raw samples, their principal components, or an encoder that was never trained."""
    started = time.perf_counter()
    torch.set_num_threads(job.threads)
    result = TrainingResult(job.key, device=job.device)
    rows = evaluation_rows(job, data)
    embeddings = _BASELINES[job.baseline](job, data, rows)
    score(job, data, rows, embeddings, result)
    result.seconds = time.perf_counter() - started
    return result


def _flat(data: TrainingData, rows: np.ndarray) -> np.ndarray:
    return data.dataset.samples[rows].reshape(len(rows), -1).astype(np.float32)


def _raw(job: TrainingJob, data: TrainingData, rows: np.ndarray) -> Tensor:
    return torch.as_tensor(_flat(data, rows))


def _pca(job: TrainingJob, data: TrainingData, rows: np.ndarray) -> Tensor:
    from sklearn.decomposition import PCA

    train = _flat(data, data.splits.folds[job.fold].train)
    components = min(job.encoder.embedding_dim, *train.shape)
    pca = PCA(components, svd_solver="full").fit(train)
    return torch.as_tensor(pca.transform(_flat(data, rows)))


def _untrained(job: TrainingJob, data: TrainingData, rows: np.ndarray) -> Tensor:
    standardize = Standardizer.measure(data.dataset, data.splits.folds[job.fold].train, job.device)
    return embed(build_encoder(job, data.dataset), standardize, data.dataset.samples[rows])


_BASELINES = {"raw_pixels": _raw, "pca": _pca, "untrained_encoder": _untrained}
