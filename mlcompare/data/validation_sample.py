"""A bounded part of each fold's validation samples: what a search is scored on, however large the dataset is.

A training is scored once on the whole sample, and measured along the way on a part of it: a learning curve compares a
training with itself, for which fewer samples do, and it must cost little beside the training.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from mlcompare.data.splits import Fold, Splits
from mlcompare.errors import InvalidValueError
from mlcompare.grouped import rows_by_class

__all__ = ["ENOUGH_CLASSES", "bound_validation", "sample_hash", "sample_rows"]

ENOUGH_CLASSES = 20  # whole classes are taken where so many of them fit
ALONG_THE_WAY = 1000  # rows that a learning curve is measured on, at most
FEWEST = 2  # of a class: one alone has no partner of its class


def bound_validation(splits: Splits, labels: np.ndarray, *, most: int, seed: int = 0) -> Splits:
    """Return the splits with a ``sample`` in every fold that validates on more than ``most`` rows.

    Such a fold's class means (nearest-class-mean accuracy) are taken from at most ``most`` training rows, too, equally
    many of each class. Folds that are scored on more than 1000 rows get a ``curve`` of at most so many of them, with
    class means of at most so many training rows. The training rows, the sealed rows and the hash of the splits stay as
    they are.

    Args:
        labels: ``(N,)`` int64, the dataset's.
        most: rows; see :func:`sample_rows` for which they are.
        seed: of the draw; each fold has a stream of its own.

    Raises:
        InvalidValueError: ``most`` is less than 2.
    """
    if most < FEWEST:
        raise InvalidValueError(f"`validation_samples >= {FEWEST}` must hold", value=str(most), cure="5000 is usual")
    whole = splits.kind != "closed_set"  # there every class must be seen: all of them are told apart
    folds = [_bounded(fold, labels, most, [seed, number], whole) for number, fold in enumerate(splits.folds)]
    return replace(splits, folds=tuple(folds))


def _bounded(fold: Fold, labels: np.ndarray, most: int, seed: list[int], whole: bool) -> Fold:
    if len(fold.validation) <= min(most, ALONG_THE_WAY):
        return fold
    if len(fold.validation) > most:
        fold = _sampled(fold, labels, most, seed, whole)
    if len(fold.scored) > ALONG_THE_WAY:
        generator = np.random.default_rng([*seed, len(fold.scored), ALONG_THE_WAY])
        chosen = sample_rows(labels[fold.scored], ALONG_THE_WAY, generator, whole_classes=whole)
        fold = replace(fold, curve=fold.scored[chosen])
        told = fold.labels(labels)
        if not whole and len(told) > ALONG_THE_WAY:
            fold = replace(fold, curve_means=_equally_many(told, ALONG_THE_WAY, generator, every_class=True))
    return fold


def _sampled(fold: Fold, labels: np.ndarray, most: int, seed: list[int], whole: bool) -> Fold:
    generator = np.random.default_rng([*seed, len(fold.validation)])
    sample = fold.validation[sample_rows(labels[fold.validation], most, generator, whole_classes=whole)]
    told = fold.labels(labels)
    means = _equally_many(told, most, generator, every_class=True) if len(told) > most else None
    return replace(fold, sample=sample, means=means)


def sample_rows(labels: np.ndarray, most: int, generator: np.random.Generator, *, whole_classes: bool) -> np.ndarray:
    """Return at most ``most`` positions, in order.

    Whole classes, drawn at random, keep the number of samples that there are to find, and so the meaning of MAP@R.
    Where fewer than 20 of them fit (or ``whole_classes`` is off), each class gives equally many samples instead (2 at
    least; where not even those fit, of classes drawn at random).

    Args:
        labels: ``(N,)`` int64.

    >>> labels = np.repeat(np.arange(100), 10)
    >>> np.unique(labels[sample_rows(labels, 255, np.random.default_rng(0), whole_classes=True)], return_counts=True)[1]
    array([10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10,
           10, 10, 10, 10, 10, 10, 10, 10])
    >>> labels = np.repeat(np.arange(4), 1000)
    >>> np.bincount(labels[sample_rows(labels, 80, np.random.default_rng(0), whole_classes=True)])
    array([20, 20, 20, 20])
    """
    classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    order = generator.permutation(len(classes))
    fit = int(np.searchsorted(np.cumsum(counts[order]), most, side="right"))
    if whole_classes and fit >= ENOUGH_CLASSES:
        return np.flatnonzero(np.isin(codes, order[:fit]))
    return _equally_many(labels, most, generator)


def _equally_many(
    labels: np.ndarray, most: int, generator: np.random.Generator, *, every_class: bool = False
) -> np.ndarray:
    """Return positions of equally many samples of each class; ``every_class`` goes before the bound."""
    classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    each = max(FEWEST, _share(counts, most))
    most_classes = len(classes) if every_class else most // each
    chosen = np.sort(generator.permutation(len(classes))[:most_classes])
    rows = rows_by_class(codes)
    kept = [generator.permutation(rows[code])[:each] for code in chosen]
    return np.sort(np.concatenate(kept))


def _share(counts: np.ndarray, most: int) -> int:
    """Return the largest number of samples that every class may give: Σ min(count, number) ≤ ``most``."""
    number = np.arange(1, int(counts.max()) + 1)
    ordered = np.sort(counts)
    below = np.searchsorted(ordered, number, side="right")  # classes that give all they have
    totals = np.concatenate([[0], np.cumsum(ordered)])[below] + (len(counts) - below) * number
    return int(np.searchsorted(totals, most, side="right"))


def sample_hash(splits: Splits) -> str | None:
    """Return what identifies the samples of all folds; ``None`` where every fold is scored on all that it has."""
    if all(fold.sample is None for fold in splits.folds):
        return None
    digest = hashlib.sha256()
    for fold in splits.folds:
        for rows in (fold.sample, fold.curve, fold.means):
            digest.update(b"all" if rows is None else rows.astype(np.int64).tobytes())
    return digest.hexdigest()
