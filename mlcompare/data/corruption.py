"""Worse training data on purpose: wrong labels and long tails, in the training samples of each fold and nowhere else.

Drawn once for each fold and shared by every loss. Validation and sealed samples keep their labels and their number.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from mlcompare.data.splits import Fold, Splits
from mlcompare.errors import DataError, InvalidValueError
from mlcompare.grouped import rows_by_class

__all__ = ["FEWEST", "corrupt", "corrupt_splits", "long_tail", "wrong_labels"]

FEWEST = 2  # samples a class keeps in a long tail: one alone has no partner of its class


def long_tail(labels: np.ndarray, factor: float, generator: np.random.Generator) -> np.ndarray:
    """Return the positions that a long tail keeps, in order.

    Classes are ranked at random; the class of rank r keeps ``n_max · factor^(−r / (C − 1))`` samples (Cui et al. 2019,
    arXiv:1901.05555), drawn at random: from ``n_max``, the size of the largest class, down to ``n_max / factor``. A
    class keeps 2 samples or more, and never more than it has.

    Args:
        labels: ``(N,)`` int64.
        factor: how many times larger the largest class is than the smallest, 1 or more.

    >>> np.bincount(np.repeat([0, 1, 2], 100)[long_tail(np.repeat([0, 1, 2], 100), 25, np.random.default_rng(0))])
    array([  4, 100,  20])
    """
    classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    ranks = generator.permutation(len(classes))
    wanted = counts.max() * factor ** (-ranks / max(1, len(classes) - 1))  # (C,)
    sizes = np.minimum(counts, np.maximum(FEWEST, np.round(wanted).astype(np.int64)))
    kept = [generator.permutation(rows)[:size] for rows, size in zip(rows_by_class(codes), sizes)]
    return np.sort(np.concatenate(kept))


def wrong_labels(labels: np.ndarray, share: float, generator: np.random.Generator) -> np.ndarray:
    """Return the labels with ``round(share · N)`` of them replaced by another class, each other class as likely.

    One sample of each class, drawn at random, keeps its label, so that no class vanishes.

    Raises:
        DataError: a single class, or too few samples for so many wrong labels.

    >>> labels = np.repeat([3, 5, 8], 10)
    >>> int((wrong_labels(labels, 0.2, np.random.default_rng(0)) != labels).sum())
    6
    """
    classes, codes = np.unique(labels, return_inverse=True)
    wrong = round(share * len(labels))
    safe = [generator.choice(rows) for rows in rows_by_class(codes)]
    open_ = np.setdiff1d(np.arange(len(labels)), safe)
    if wrong > len(open_) or (wrong and len(classes) < 2):
        got = f"{wrong} of {len(labels)} samples of {len(classes)} classes"
        cure = "lower corruption.label_noise"
        raise DataError("wrong labels must leave each class a sample", value=got, cure=cure)
    chosen = generator.choice(open_, wrong, replace=False)
    moved = codes.copy()
    if wrong:
        steps = generator.integers(1, len(classes), wrong)  # 1 … C − 1 further on: never the class itself
        moved[chosen] = (codes[chosen] + steps) % len(classes)
    return classes[moved]


def corrupt(fold: Fold, labels: np.ndarray, *, label_noise: float, imbalance: float, seed: list[int]) -> Fold:
    """Return the fold with a long tail first, then wrong labels; ``labels (N,)`` are the dataset's."""
    generator = np.random.default_rng(seed)
    train = fold.train[long_tail(labels[fold.train], imbalance, generator)] if imbalance > 1 else fold.train
    told = wrong_labels(labels[train], label_noise, generator) if label_noise > 0 else None
    return replace(fold, train=train, train_labels=told)


def corrupt_splits(
    splits: Splits, labels: np.ndarray, *, label_noise: float = 0.0, imbalance: float = 1.0, seed: int = 0
) -> Splits:
    """Corrupt the training samples of every fold; the hash of the splits says so.

    Args:
        labels: ``(N,)`` int64, the dataset's.
        label_noise: share of the training labels that are wrong, from 0 up to 1 (:func:`wrong_labels`).
        imbalance: the largest class's size over the smallest's, 1 or more (:func:`long_tail`).

    Raises:
        InvalidValueError: an argument is out of its range.
        DataError: too few samples for it.
    """
    if not 0 <= label_noise < 1:
        raise InvalidValueError("`0 <= label_noise < 1` must hold", value=f"label_noise={label_noise}")
    if not 1 <= imbalance < float("inf"):
        raise InvalidValueError("`imbalance >= 1` must hold", value=f"imbalance={imbalance}", cure="100 is usual")
    if label_noise == 0 and imbalance == 1:
        return splits
    how = {"label_noise": label_noise, "imbalance": imbalance}
    folds = tuple(corrupt(fold, labels, **how, seed=[seed, number]) for number, fold in enumerate(splits.folds))
    digest = hashlib.sha256(splits.hash.encode())
    for fold in folds:
        digest.update(fold.train.astype(np.int64).tobytes())
        digest.update(b"" if fold.train_labels is None else fold.train_labels.astype(np.int64).tobytes())
    return replace(splits, folds=folds, hash=digest.hexdigest())
