"""The baselines that stand in every table: what no metric learning at all achieves."""

from __future__ import annotations

import time
import warnings

import numpy as np
import torch
from torch import Tensor

from mlcompare.data import Dataset
from mlcompare.encoders.hog import MIN_SIDE, HistogramOfGradients
from mlcompare.training.descriptors import local_binary_patterns
from mlcompare.training.job import BASELINES, TrainingData, TrainingJob, TrainingResult, derive_seed
from mlcompare.training.prepare import Standardizer, build_encoder
from mlcompare.training.record import failures_recorded
from mlcompare.training.scoring import EmbedRows, class_scores, embed, evaluation_rows, score

__all__ = ["baselines_of", "run_baseline"]

CHUNK = 512
SVM_SAMPLES = 10_000
SVM_CLASSES = 1000


def baselines_of(dataset: Dataset) -> tuple[str, ...]:
    """Return the baselines that a dataset can have: descriptors need images, one SVM for each class few classes.

    >>> features = Dataset("x", np.zeros((2, 3), np.float32), np.array([0, 1]), ("a", "b"))
    >>> baselines_of(features)
    ('raw_pixels', 'pca', 'linear_svm', 'untrained_encoder')
    """
    left_out = set() if _has_descriptors(dataset) else {"hog", "lbp"}
    if len(dataset.class_names) > SVM_CLASSES:
        left_out.add("linear_svm")
    return tuple(name for name in BASELINES if name not in left_out)


def run_baseline(job: TrainingJob, data: TrainingData) -> TrainingResult:
    """Score a baseline as a loss is scored; whatever fails in it becomes the result's ``reason``.

    Accuracy is that of class means, or of the SVM's decisions.
    """
    started = time.perf_counter()
    torch.set_num_threads(job.threads)
    result = TrainingResult(job.key, device=job.device)
    with failures_recorded([result]):
        _score_baseline(job, data, result)
    result.seconds = time.perf_counter() - started
    return result


def _score_baseline(job: TrainingJob, data: TrainingData, result: TrainingResult) -> None:
    rows = evaluation_rows(job, data)
    embed_rows = _BASELINES[job.baseline](job, data)
    embeddings = embed_rows(rows)

    def scores() -> Tensor:
        return embeddings if job.baseline == "linear_svm" else class_scores(job, data, None, embeddings, embed_rows)

    score(job, data, rows, embeddings, result, scores)


def _has_descriptors(dataset: Dataset) -> bool:
    return dataset.is_images and min(dataset.sample_shape[1:]) >= MIN_SIDE


def _flat(data: TrainingData, rows: np.ndarray) -> np.ndarray:
    return data.dataset.samples[rows].reshape(len(rows), -1).astype(np.float32)


def _raw(job: TrainingJob, data: TrainingData) -> EmbedRows:
    return lambda rows: torch.as_tensor(_flat(data, rows))


def _pca(job: TrainingJob, data: TrainingData) -> EmbedRows:
    """The first principal components of the training samples: as many as the embedding has dimensions, at most."""
    train = torch.as_tensor(_flat(data, data.splits.folds[job.fold].train))
    mean = train.mean(0)
    axes = torch.linalg.svd(train - mean, full_matrices=False).Vh[: job.encoder.embedding_dim]  # (D, F)
    return lambda rows: (torch.as_tensor(_flat(data, rows)) - mean) @ axes.T


def _hog(job: TrainingJob, data: TrainingData) -> EmbedRows:
    """Histograms of oriented gradients, as they are."""
    describe = HistogramOfGradients(data.dataset.sample_shape)
    samples = data.dataset.samples

    def embed_rows(rows: np.ndarray) -> Tensor:
        chunks = (samples[rows[start : start + CHUNK]] for start in range(0, len(rows), CHUNK))
        return torch.cat([describe(torch.as_tensor(chunk).float()) for chunk in chunks])

    return embed_rows


def _lbp(job: TrainingJob, data: TrainingData) -> EmbedRows:
    """Local binary patterns, as they are."""
    return lambda rows: torch.as_tensor(local_binary_patterns(data.dataset.samples[rows]))


def _linear_svm(job: TrainingJob, data: TrainingData) -> EmbedRows:
    """Decision values of one linear SVM for each training class, on HOG or on standardised features.

    On new classes they say how much a sample looks like each class of the training, which is an embedding of its own
    (the simile classifiers of Kumar et al. 2009). Large folds train on 10 000 samples, equally many of each class.
    """
    from sklearn.svm import LinearSVC

    describe = _hog(job, data) if _has_descriptors(data.dataset) else _standardized(job, data)
    fold, seed = data.splits.folds[job.fold], derive_seed("svm", job.random_state)
    rows, labels = _some(fold.train, fold.labels(data.dataset.labels), np.random.default_rng(seed))
    svm = LinearSVC(dual="auto", tol=1e-2, max_iter=100, random_state=seed % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an SVM that has not quite converged is a baseline all the same
        svm.fit(describe(rows).numpy(), labels)

    def embed_rows(rows: np.ndarray) -> Tensor:
        values = svm.decision_function(describe(rows).numpy())
        return torch.as_tensor(values if values.ndim == 2 else np.stack([-values, values], 1)).float()

    return embed_rows


def _standardized(job: TrainingJob, data: TrainingData) -> EmbedRows:
    standardize = Standardizer.measure(data.dataset, data.splits.folds[job.fold].train, "cpu")
    return lambda rows: standardize(torch.as_tensor(data.dataset.samples[rows])).flatten(1)


def _some(rows: np.ndarray, labels: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return all samples, or of many equally many of each class."""
    if len(rows) <= SVM_SAMPLES:
        return rows, labels
    classes = np.unique(labels)
    most = max(1, SVM_SAMPLES // len(classes))
    kept = np.concatenate([generator.permutation(np.flatnonzero(labels == c))[:most] for c in classes])
    return rows[kept], labels[kept]


def _untrained(job: TrainingJob, data: TrainingData) -> EmbedRows:
    standardize = Standardizer.measure(data.dataset, data.splits.folds[job.fold].train, job.device)
    encoder = build_encoder(job, data.dataset)
    return lambda rows: embed(encoder, standardize, data.dataset.samples[rows])


_BASELINES = {
    "raw_pixels": _raw,
    "pca": _pca,
    "hog": _hog,
    "lbp": _lbp,
    "linear_svm": _linear_svm,
    "untrained_encoder": _untrained,
}
