"""Closed-set accuracy: the classes to be told apart are those of the training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from mlcompare.errors import InvalidValueError
from mlcompare.evaluation.inputs import Values, as_labels
from mlcompare.grouped import rows_by_class

__all__ = ["class_mean_scores", "closed_set_accuracy", "per_class_accuracy"]


def closed_set_accuracy(logits: Values, labels: Values) -> float:
    """Share of samples whose predicted class is the label.

    Args:
        logits: ``(N, C)`` scores, class indices as columns, or ``(N,)`` predicted labels.
        labels: ``(N,)``; class indices when logits are given.

    Ties between logits count as wrong unless the label is the only maximum, so constant logits score 0.

    Raises:
        InvalidValueError: NaN logits, shapes that don't match, or labels outside ``[0, C)``.

    >>> closed_set_accuracy([[0.1, 0.9], [0.8, 0.2]], [1, 1])
    0.5
    """
    correct, _ = _correct(logits, labels, "closed_set_accuracy")
    return float(correct.mean())


def per_class_accuracy(logits: Values, labels: Values) -> dict[Any, float]:
    """Recall of each class: class → share of its samples whose predicted class it is.

    Arguments and errors are those of :func:`closed_set_accuracy`.

    >>> per_class_accuracy([[0.1, 0.9], [0.8, 0.2], [0.7, 0.3]], [1, 1, 0])
    {0: 1.0, 1: 0.5}
    """
    correct, labels = _correct(logits, labels, "per_class_accuracy")
    names, codes = np.unique(labels, return_inverse=True)
    return {name.item(): float(correct[rows].mean()) for name, rows in zip(names, rows_by_class(codes))}


def class_mean_scores(train_embeddings: Tensor, train_labels: Values, embeddings: Tensor) -> Tensor:
    """Score classes by the nearest class mean: cosines ``(N, C)`` between embeddings and class means.

    ``s_ic = cos(x_i, μ_c)``, where ``μ_c`` is the mean of the *normalised* training embeddings of class c.

    Args:
        train_embeddings: ``(M, D)``.
        train_labels: ``(M,)`` integers in [0, C), each class at least once.
        embeddings: ``(N, D)``.

    Raises:
        InvalidValueError: a class without a training sample, or shapes that don't match.

    >>> class_mean_scores(torch.eye(2), [0, 1], torch.tensor([[0.0, 3.0]]))
    tensor([[0., 1.]])
    """
    labels = torch.as_tensor(train_labels, device=train_embeddings.device).long()
    if labels.shape != train_embeddings.shape[:1] or train_embeddings.shape[1:] != embeddings.shape[1:]:
        got = f"{tuple(train_embeddings.shape)}, {tuple(labels.shape)}, {tuple(embeddings.shape)}"
        raise InvalidValueError("shapes must be (M, D), (M,), (N, D)", value=got, place="class_mean_scores")
    counts = torch.bincount(labels)
    if not bool((counts > 0).all()):
        raise InvalidValueError("each class must have a training sample", value="none", place="class_mean_scores")
    sums = torch.zeros(len(counts), train_embeddings.shape[1], dtype=train_embeddings.dtype, device=labels.device)
    means = sums.index_add(0, labels, normalize(train_embeddings)) / counts[:, None]  # (C, D)
    return normalize(embeddings) @ normalize(means).T


def _correct(logits: Values, labels: Values, place: str) -> tuple[np.ndarray, np.ndarray]:
    """Return which predictions are right ``(N,)``, and the labels ``(N,)``."""
    scores = logits.detach().cpu().numpy() if isinstance(logits, torch.Tensor) else np.asarray(logits)
    labels = as_labels(labels, len(scores), place=place)
    if len(labels) == 0 or scores.ndim not in (1, 2):
        raise InvalidValueError("logits must have shape (N, C) or (N,)", value=str(scores.shape), place="logits")
    if scores.ndim == 1:
        return scores == labels, labels
    if np.isnan(scores).any():
        raise InvalidValueError("logits must not be NaN", value="NaN", place=place)
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= scores.shape[1]:
        got = f"{labels.min()} to {labels.max()}"
        rule = f"labels must be class indices in [0, {scores.shape[1]})"
        raise InvalidValueError(rule, value=got, place=place)
    target = scores[np.arange(len(labels)), labels]
    return (scores >= target[:, None]).sum(axis=1) == 1, labels  # no rival but itself
