"""The baselines that stand in every table: what no metric learning at all achieves."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from mlcompare.data import Dataset
from mlcompare.encoders.hog import MIN_SIDE, HistogramOfGradients
from mlcompare.grouped import rows_by_class
from mlcompare.registry import Record, Registry
from mlcompare.training.descriptors import local_binary_patterns
from mlcompare.training.job import TrainingData, TrainingJob, TrainingResult, derive_seed
from mlcompare.training.prepare import Standardizer, build_encoder
from mlcompare.training.record import current_device, failures_recorded, torch_threads
from mlcompare.training.scoring import EmbedRows, Evaluated, class_scores, embed, evaluate, evaluation_rows, score

__all__ = ["BASELINES", "BaselineSpec", "baselines_of", "is_fitted", "register_baseline", "run_baseline", "svm_size"]

CHUNK = 512
MOST_ROWS = 5000  # training samples that PCA, wide descriptors and SVMs learn from, equally many of each class
SVM_CLASSES = 1000
MOST_WORK = 30_000_000  # samples × classes × features of linear SVMs: some ten seconds
FEWEST_AXES = 32  # principal components that they keep in any case
EXACT_PRODUCTS = 2e10  # multiplications of a whole singular value decomposition: more take more than some seconds
MOST_PRODUCTS = 3e10  # multiplications of all test samples with each other
NARROW = 256  # columns that wider descriptors are reduced to where there would be more


@dataclass(frozen=True, kw_only=True)
class BaselineSpec(Record):
    """A registered baseline: ``factory(job, data)`` returns a function of rows ``(N,)`` that embeds them.

    ``fitted`` says whether it learns from a fold's training samples; ``suits(dataset)`` whether a dataset can have it;
    ``decides`` that its columns are scores of the training classes.
    """

    fitted: bool = True
    decides: bool = False
    suits: Callable[[Dataset], bool] = bool


BASELINES = Registry("baseline", "baselines", BaselineSpec, homes=["mlcompare.training"])
Known = dict[tuple[str, str, tuple[str, ...]], tuple[EmbedRows, Tensor, Evaluated]]
Baseline = TypeVar("Baseline", bound=Callable[[TrainingJob, TrainingData], EmbedRows])


def register_baseline(
    name: str, *, fitted: bool = True, decides: bool = False, suits: Callable[[Dataset], bool] = bool,
    reference: str = "", replace: bool = False,
) -> Callable[[Baseline], Baseline]:  # fmt: skip
    """File a baseline under ``name``; see :class:`BaselineSpec` for what it is called with and returns.

    Raises:
        InvalidValueError: the name is taken, and ``replace`` is not said.
    """

    def decorate(embedder: Baseline) -> Baseline:
        spec = BaselineSpec(
            name=name, factory=embedder, doc=embedder.__doc__ or "", fitted=fitted, decides=decides, suits=suits,
            reference=reference,
        )  # fmt: skip
        BASELINES.register(spec, replace=replace)
        return embedder

    return decorate


def is_fitted(baseline: str, metrics: Sequence[str]) -> bool:
    """Say whether a baseline's scores depend on what a fold trains on; accuracy always does (class means).

    >>> is_fitted("pca", ["map_at_r"]), is_fitted("raw_pixels", ["map_at_r"]), is_fitted("raw_pixels", ["accuracy"])
    (True, False, True)
    """
    return BASELINES[baseline].fitted or "accuracy" in metrics


def baselines_of(dataset: Dataset) -> tuple[str, ...]:
    """Return the baselines that a dataset can have: descriptors need images, one SVM for each class few classes.

    >>> features = Dataset("x", np.zeros((2, 3), np.float32), np.array([0, 1]), ("a", "b"))
    >>> baselines_of(features)
    ('linear_svm', 'pca', 'raw_pixels', 'untrained_encoder')
    """
    return tuple(spec.name for spec in BASELINES.records() if spec.broken is None and spec.suits(dataset))


def run_baseline(job: TrainingJob, data: TrainingData, known: Known | None = None) -> TrainingResult:
    """Score a baseline as a loss is scored; whatever fails in it becomes the result's ``reason``.

    Accuracy is that of class means, or of the SVM's decisions. What a large study would wait for is bounded: PCA and
    SVMs learn from 5000 training samples, PCA is randomised where a whole decomposition would take long, and
    descriptors that are too wide to compare all test samples in are reduced to 256 columns first.

    Args:
        known: what descriptors, which learn nothing, gave on other folds; the same mapping for all of them.
    """
    started = time.perf_counter()
    result = TrainingResult(job.key, device=job.device)
    with current_device(job.device), torch_threads(job.threads), failures_recorded([result]):
        _score_baseline(job, data, result, {} if known is None else known)
    result.seconds = time.perf_counter() - started
    return result


def _score_baseline(job: TrainingJob, data: TrainingData, result: TrainingResult, known: Known) -> None:
    rows = evaluation_rows(job, data)
    spec = BASELINES.usable(str(job.baseline))
    key = (spec.name, job.split, job.metrics)
    if spec.fitted or key not in known:
        embed_rows = spec.factory(job, data)
        embed_rows = embed_rows if spec.decides else _narrowed(embed_rows, job, data, rows)
        embeddings = embed_rows(rows)
        evaluated = evaluate(job, data, rows, embeddings)
        known[key] = (embed_rows, embeddings, evaluated)
    embed_rows, embeddings, evaluated = known[key]

    def scores() -> Tensor:
        return embeddings if spec.decides else class_scores(job, data, None, embeddings, embed_rows)

    score(job, data, rows, embeddings, result, scores, evaluated)


def _narrowed(embed_rows: EmbedRows, job: TrainingJob, data: TrainingData, rows: np.ndarray) -> EmbedRows:
    """Return embeddings on their first principal axes where all of them would be too wide to compare ``rows`` in.

    The axes are of fold 0's training samples, the same for every fold, and not centred: cosines stay what they are, but
    for what lies outside the axes.
    """
    width = embed_rows(rows[:1]).shape[1]
    if width <= NARROW or float(len(rows)) ** 2 * width <= MOST_PRODUCTS:
        return embed_rows
    fold, seed = data.splits.folds[0], derive_seed("narrow", job.baseline)
    chosen, _ = _some(fold.train, fold.labels(data.dataset.labels), np.random.default_rng(seed), most=4 * NARROW)
    if len(chosen) < 2 * NARROW:  # too few to find so many axes
        return embed_rows
    axes = _axes(embed_rows(chosen), NARROW, seed)
    return _in_chunks(lambda rows: embed_rows(rows) @ axes)


def _axes(rows: Tensor, count: int, seed: int) -> Tensor:
    """Return the first ``count`` right singular vectors ``(F, count)`` of ``rows (N, F)``; of large ones randomised.

    Of tall ones they are eigenvectors of the products of columns, in float64: several times as fast as the whole
    decomposition.
    """
    size, width = rows.shape
    if float(size) * width * min(size, width) <= EXACT_PRODUCTS:
        if size < width:
            return torch.linalg.svd(rows, full_matrices=False).Vh[:count].T
        wide = rows.double()
        return torch.linalg.eigh(wide.T @ wide).eigenvectors.flip(1)[:, :count].to(rows.dtype)
    from sklearn.utils.extmath import randomized_svd

    count = min(count, size, width)
    return torch.as_tensor(randomized_svd(rows.numpy(), count, n_iter=4, random_state=seed % 2**32)[2].T.copy())


def _components(train: Tensor, count: int, seed: int) -> Callable[[Tensor], Tensor]:
    """Return what puts rows ``(N, F)`` on the first ``count`` principal components of ``train``."""
    mean = train.mean(0)
    axes = _axes(train - mean, count, seed)  # (F, count)
    return lambda rows: (rows - mean) @ axes


def _has_descriptors(dataset: Dataset) -> bool:
    return dataset.is_images and min(dataset.sample_shape[1:]) >= MIN_SIDE


def _has_few_classes(dataset: Dataset) -> bool:
    return len(dataset.class_names) <= SVM_CLASSES


def _flat(data: TrainingData, rows: np.ndarray) -> np.ndarray:
    return data.dataset.samples[rows].reshape(len(rows), -1).astype(np.float32)


def _in_chunks(embed_rows: EmbedRows) -> EmbedRows:
    """Return what embeds a chunk of samples at a time: data beyond memory are not held, but for their embeddings."""
    return lambda rows: torch.cat([embed_rows(rows[start : start + CHUNK]) for start in range(0, len(rows), CHUNK)])


@register_baseline("raw_pixels", fitted=False)
def _raw(job: TrainingJob, data: TrainingData) -> EmbedRows:
    """Pixels, or features, as they are."""
    return _in_chunks(lambda rows: torch.as_tensor(_flat(data, rows)))


@register_baseline("pca")
def _pca(job: TrainingJob, data: TrainingData) -> EmbedRows:
    """The first principal components of the training samples: as many as the embedding has dimensions, at most.

    Large folds learn from 5000 samples, equally many of each class, and large decompositions are randomised (Halko et
    al. 2011).
    """
    fold, seed = data.splits.folds[job.fold], derive_seed("pca", job.random_state)
    chosen, _ = _some(fold.train, fold.labels(data.dataset.labels), np.random.default_rng(seed))
    reduced = _components(torch.as_tensor(_flat(data, chosen)), job.encoder.embedding_dim, seed)
    return _in_chunks(lambda rows: reduced(torch.as_tensor(_flat(data, rows))))


@register_baseline("hog", fitted=False, suits=_has_descriptors, reference="Dalal & Triggs 2005")
def _hog(job: TrainingJob, data: TrainingData) -> EmbedRows:
    """Histograms of oriented gradients, as they are."""
    describe = HistogramOfGradients(data.dataset.sample_shape)
    return _in_chunks(lambda rows: describe(torch.as_tensor(data.dataset.samples[rows]).float()))


@register_baseline("lbp", fitted=False, suits=_has_descriptors, reference="Ahonen et al. 2006")
def _lbp(job: TrainingJob, data: TrainingData) -> EmbedRows:
    """Local binary patterns, as they are."""
    return _in_chunks(lambda rows: torch.as_tensor(local_binary_patterns(data.dataset.samples[rows])))


@register_baseline("linear_svm", decides=True, suits=_has_few_classes, reference="Kumar et al. 2009")
def _linear_svm(job: TrainingJob, data: TrainingData) -> EmbedRows:
    """Decision values of one linear SVM for each training class, on HOG or on standardised features.

    On new classes they say how much a sample looks like each class of the training, which is an embedding of its own
    (the simile classifiers of Kumar et al. 2009). Large folds train on 5000 samples, equally many of each class, and
    on principal components where samples × classes × features are more than :data:`MOST_WORK`: as many as stay below.
    """
    from sklearn.svm import LinearSVC

    seed = derive_seed("svm", job.random_state)
    describe, rows, labels = _described(job, data, seed)
    train = describe(rows)
    affordable = max(FEWEST_AXES, MOST_WORK // (len(rows) * len(np.unique(labels))))
    reduced = _components(train, affordable, seed) if affordable < train.shape[1] else torch.asarray
    svm = LinearSVC(dual="auto", tol=1e-2, max_iter=100, random_state=seed % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an SVM that has not quite converged is a baseline all the same
        svm.fit(reduced(train).numpy(), labels)

    def embed_rows(rows: np.ndarray) -> Tensor:
        values = svm.decision_function(reduced(describe(rows)).numpy())
        return torch.as_tensor(values if values.ndim == 2 else np.stack([-values, values], 1)).float()

    return _in_chunks(embed_rows)


def _described(job: TrainingJob, data: TrainingData, seed: int) -> tuple[EmbedRows, np.ndarray, np.ndarray]:
    """What a linear SVM sees of a sample, and the rows that it learns from with their labels."""
    describe = _hog(job, data) if _has_descriptors(data.dataset) else _standardized(job, data)
    fold = data.splits.folds[job.fold]
    return describe, *_some(fold.train, fold.labels(data.dataset.labels), np.random.default_rng(seed))


def svm_size(job: TrainingJob, data: TrainingData) -> tuple[int, int, int]:
    """Return the samples, classes and features that the job's linear SVM learns from, before any reduction."""
    describe, rows, labels = _described(job, data, derive_seed("svm", job.random_state))
    return len(rows), len(np.unique(labels)), describe(rows[:1]).shape[1]


def _standardized(job: TrainingJob, data: TrainingData) -> EmbedRows:
    standardize = Standardizer.measure(data.dataset, data.splits.folds[job.fold].train, "cpu")
    return lambda rows: standardize(torch.as_tensor(data.dataset.samples[rows])).flatten(1)


def _some(
    rows: np.ndarray, labels: np.ndarray, generator: np.random.Generator, *, most: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return all samples, or of many equally many of each class."""
    most = most or MOST_ROWS
    if len(rows) <= most:
        return rows, labels
    classes, codes = np.unique(labels, return_inverse=True)
    most = max(1, most // len(classes))
    kept = np.concatenate([generator.permutation(mine)[:most] for mine in rows_by_class(codes)])
    return rows[kept], labels[kept]


@register_baseline("untrained_encoder")
def _untrained(job: TrainingJob, data: TrainingData) -> EmbedRows:
    """The encoder with its first weights."""
    encoder = build_encoder(job, data.dataset)
    standardize = Standardizer.of(encoder, data.dataset, data.splits.folds[job.fold].train, job.device)
    return lambda rows: embed(encoder, standardize, data.dataset.samples, rows)
