"""From samples to scores: standardise, embed, evaluate; and the baselines that stand in every table."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from mlcompare.data import Dataset
from mlcompare.encoders import create_encoder
from mlcompare.evaluation import evaluate_embeddings, per_class_scores
from mlcompare.training.job import TrainingData, TrainingJob, TrainingResult, derive_seed

__all__ = ["embed", "evaluation_rows", "run_baseline", "score", "standardizer"]

Transform = Callable[[np.ndarray], Tensor]


def standardizer(dataset: Dataset, rows: np.ndarray, device: str) -> Transform:
    """Return a function from raw samples to zero-mean, unit-variance input, measured on the training ``rows``.

    Images are standardised for each channel, features for each column (a constant column stays at 0).
    """
    chosen = dataset.samples[rows].astype(np.float64)
    axes = (0, 2, 3) if dataset.is_images else (0,)
    mean, deviation = chosen.mean(axes, keepdims=True), chosen.std(axes, keepdims=True)
    mean = torch.as_tensor(mean, dtype=torch.float32, device=device)
    inverse = torch.as_tensor(1 / np.where(deviation > 1e-8, deviation, 1.0), dtype=torch.float32, device=device)

    def transform(samples: np.ndarray) -> Tensor:
        return (torch.as_tensor(samples, device=device).float() - mean) * inverse

    return transform


def embed(encoder: nn.Module, transform: Transform, samples: np.ndarray, chunk: int = 512) -> Tensor:
    """Return embeddings ``(N, D)`` in float32, in evaluation mode, chunk by chunk."""
    encoder.eval()
    with torch.no_grad():
        parts = [encoder(transform(samples[i : i + chunk])).float() for i in range(0, len(samples), chunk)]
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
    transform = standardizer(data.dataset, data.splits.folds[job.fold].train, job.device)
    encoder = create_encoder(
        job.encoder.name,
        input_shape=data.dataset.sample_shape,
        embedding_dim=job.encoder.embedding_dim,
        seed=derive_seed("encoder", job.seed),
        **job.encoder.options,
    ).to(job.device)
    return embed(encoder, transform, data.dataset.samples[rows])


_BASELINES = {"raw_pixels": _raw, "pca": _pca, "untrained_encoder": _untrained}
