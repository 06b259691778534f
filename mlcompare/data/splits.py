"""Who trains, who validates, who is sealed: drawn once from a seed, hashed, shared by every loss."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from mlcompare.data.pairs import Pairs
from mlcompare.errors import DataError, InvalidValueError
from mlcompare.grouped import rows_by_class

__all__ = ["PROTOCOLS", "Fold", "ProtocolKind", "Splits", "draw_splits"]

ProtocolKind = Literal["class_disjoint", "closed_set", "verification_pairs"]
PROTOCOLS: tuple[str, ...] = get_args(ProtocolKind)

SHOWN = 3  # classes that a message names


@dataclass(frozen=True)
class Fold:
    """Row numbers of one fold's training and validation samples.

    ``train_labels`` are the labels that training is told, one for each row of ``train``, where they are not the
    dataset's own (:mod:`~mlcompare.data.corruption`). Of very many validation rows a ``sample`` is scored, learning
    curves are measured on ``curve``, a part of that, and class means are taken from ``means``, positions in ``train``,
    for learning curves from ``curve_means`` (:mod:`~mlcompare.data.validation_sample`).
    """

    train: np.ndarray
    validation: np.ndarray
    train_labels: np.ndarray | None = None
    sample: np.ndarray | None = None
    curve: np.ndarray | None = None
    means: np.ndarray | None = None
    curve_means: np.ndarray | None = None

    @property
    def scored(self) -> np.ndarray:
        """The validation rows that trainings are scored on: all of them, or the sample."""
        return self.validation if self.sample is None else self.sample

    @property
    def along(self) -> np.ndarray:
        """The validation rows that learning curves are measured on: those that are scored, or fewer."""
        return self.scored if self.curve is None else self.curve

    def labels(self, labels: np.ndarray) -> np.ndarray:
        """Return the labels of the training rows, given the dataset's ``labels (N,)``."""
        return labels[self.train] if self.train_labels is None else self.train_labels


@dataclass(frozen=True)
class Splits:
    """The folds and the sealed test samples; ``hash`` identifies the draw.

    ``pairs`` are the verification pairs that the test is made of, as positions in ``test``, where there are any.
    """

    kind: str
    folds: tuple[Fold, ...]
    test: np.ndarray
    hash: str
    pairs: Pairs | None = None

    @property
    def development(self) -> np.ndarray:
        """Every row that trains or validates."""
        return np.unique(np.concatenate([rows for fold in self.folds for rows in (fold.train, fold.validation)]))


def draw_splits(
    labels: np.ndarray,
    *,
    kind: str = "class_disjoint",
    test_classes: float | str = 0.5,
    test_share: float = 0.2,
    folds: int = 4,
    outer_folds: int | None = None,
    outer_fold: int | None = None,
    seed: int = 0,
    official: np.ndarray | None = None,
    pairs: Pairs | None = None,
    names: Sequence[str] | None = None,
) -> Splits:
    """Draw the splits of a study.

    ``class_disjoint`` seals a share of the *classes* and cuts the rest into class-disjoint folds with equally many
    validation classes (a remainder always trains, so that head shapes match). ``closed_set`` seals a share of each
    class's *samples* (or the official test split) and cuts the rest into stratified folds. ``verification_pairs`` seals
    every class that is in the pairs, tests on the pairs, and cuts the other classes as ``class_disjoint`` does.

    Args:
        labels: ``(N,)`` int64.
        test_classes: share of the classes that are sealed (``class_disjoint``), or ``official``: those of the official
            test split.
        test_share: share of each class's samples that is sealed (``closed_set``).
        outer_folds, outer_fold: the classes in so many parts, of which one is sealed (``class_disjoint``, in place of
            ``test_classes``); the first where ``outer_fold`` is not said.
        official: ``(N,)`` text; where ``closed_set`` finds ``test`` in it, that is the sealed part.
        pairs: pairs of rows (``verification_pairs``).
        names: the name of each class, for messages.

    Raises:
        InvalidValueError: an argument is out of its range.
        DataError: too few classes or samples for it.
    """
    if kind not in PROTOCOLS:
        raise InvalidValueError(f"`kind` must be one of {', '.join(PROTOCOLS)}", value=f"kind={kind!r}")
    if not 2 <= folds <= 100:
        raise InvalidValueError("`2 <= folds <= 100` must hold", value=f"folds={folds}")
    generator = np.random.default_rng([seed, len(labels)])
    if (pairs is not None) != (kind == "verification_pairs"):
        cure = "give pairs: … with kind: verification_pairs, and with no other kind"
        raise InvalidValueError("`pairs` and `kind` must fit", value=f"kind={kind!r}", cure=cure)
    if outer_folds is None and outer_fold is not None:
        raise InvalidValueError("`outer_fold` needs `outer_folds`", value=f"outer_fold={outer_fold}")
    if outer_folds is not None and (kind != "class_disjoint" or test_classes != 0.5):
        cure = "leave out outer_folds, or use class_disjoint with test_classes left out"
        got = f"kind={kind!r}" if kind != "class_disjoint" else f"test_classes={test_classes!r}"
        raise InvalidValueError("`outer_folds` seal every class once", value=got, cure=cure)
    if outer_folds is not None and not 0 <= (outer_fold or 0) < outer_folds:
        rule = "`0 <= outer_fold < outer_folds` must hold"
        raise InvalidValueError(rule, value=f"outer_fold={outer_fold}, outer_folds={outer_folds}")
    if pairs is not None:
        used = np.unique(np.concatenate([pairs.a, pairs.b]))
        drawn, _ = _class_disjoint(labels, np.unique(labels[used]), folds, generator, official, names)
        placed = replace(pairs, a=np.searchsorted(used, pairs.a), b=np.searchsorted(used, pairs.b))
        content = [part.tolist() for part in (pairs.a, pairs.b, pairs.same, pairs.fold)]
        return Splits(kind, drawn, used, _hash(json.dumps(content), drawn, used), placed)
    if kind == "class_disjoint" and outer_folds is not None:
        parts = np.array_split(generator.permutation(np.unique(labels)), outer_folds)
        drawn, test = _class_disjoint(labels, parts[outer_fold or 0], folds, generator, official, names)
    elif kind == "class_disjoint":
        drawn, test = _class_disjoint(labels, test_classes, folds, generator, official, names)
    else:
        drawn, test = _closed_set(labels, test_share, folds, generator, official, names)
    return Splits(kind, drawn, test, _hash(kind, drawn, test))


def _class_disjoint(
    labels: np.ndarray, test_classes: float | str | np.ndarray, folds: int, generator: np.random.Generator,
    official: np.ndarray | None, names: Sequence[str] | None,
) -> tuple[tuple[Fold, ...], np.ndarray]:  # fmt: skip
    classes = generator.permutation(np.unique(labels))
    if isinstance(test_classes, np.ndarray) or test_classes == "official":
        named = (
            test_classes if isinstance(test_classes, np.ndarray) else _official_test_classes(labels, official, names)
        )
        of_test = np.isin(classes, named)
        sealed, rest = classes[of_test], classes[~of_test]
    elif isinstance(test_classes, str) or not 0 < test_classes < 1:
        rule = "`test_classes` must be a share between 0 and 1, or official"
        raise InvalidValueError(rule, value=f"test_classes={test_classes}")
    else:
        sealed, rest = np.split(classes, [round(len(classes) * test_classes)])
    held_out = len(rest) // folds
    if len(sealed) < 2 or held_out < 2:
        raise DataError(
            "each fold must validate on 2 classes or more, and 2 must be sealed",
            value=f"{len(classes)} classes: {len(sealed)} sealed, {len(rest)} for {folds} folds",
            cure="use fewer folds or another share of test classes",
        )
    drawn = []
    for number in range(folds):
        validation = rest[number * held_out : (number + 1) * held_out]
        train = np.setdiff1d(rest, validation)
        drawn.append(Fold(_rows(labels, train), _rows(labels, validation)))
    return tuple(drawn), _rows(labels, sealed)


def _named(classes: Sequence[int] | np.ndarray, names: Sequence[str] | None) -> str:
    """Name the first classes; by number where nobody gave their names."""
    shown = ", ".join(repr(names[int(label)]) if names else str(label) for label in classes[:SHOWN])
    return shown + ", …" * (len(classes) > SHOWN)


def _official_test_classes(labels: np.ndarray, official: np.ndarray | None, names: Sequence[str] | None) -> np.ndarray:
    """Return the classes whose samples all belong to the official test split."""
    if official is None or not (official == "test").any():
        cure = "give a share, such as test_classes: 0.5"
        got = "none" if official is None else f"no row of {', '.join(np.unique(official))} is test"
        if official is not None and (official == "validation").any():
            cure += ", or write test where the split says validation"
        raise DataError(
            "official test classes need a dataset with an official split and a test part", value=got, cure=cure
        )
    test, rest = np.unique(labels[official == "test"]), np.unique(labels[official != "test"])
    both = np.intersect1d(test, rest)
    if len(both):
        cure = "use kind: closed_set, or give a share of test classes"
        got = f"{len(both)} of {len(np.union1d(test, rest))} classes in both parts: {_named(both, names)}"
        raise DataError("the official split must part classes, not samples", value=got, cure=cure)
    return test


def _rows(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.isin(labels, classes))


def _closed_set(
    labels: np.ndarray, test_share: float, folds: int, generator: np.random.Generator, official: np.ndarray | None,
    names: Sequence[str] | None,
) -> tuple[tuple[Fold, ...], np.ndarray]:  # fmt: skip
    if not 0 < test_share < 1:
        raise InvalidValueError("`0 < test_share < 1` must hold", value=f"test_share={test_share}")
    fixed = official is not None and bool((official == "test").any())
    test: list[np.ndarray] = []
    parts: list[list[np.ndarray]] = [[] for _ in range(folds)]
    classes, codes = np.unique(labels, return_inverse=True)
    for label, rows in zip(classes, rows_by_class(codes)):
        if official is not None and fixed:
            sealed, rest = rows[official[rows] == "test"], generator.permutation(rows[official[rows] != "test"])
        else:
            sealed, rest = np.split(generator.permutation(rows), [max(1, round(len(rows) * test_share))])
        if len(rest) < folds:
            raise DataError(
                "each class must have a sample for each fold",
                value=f"class {_named([int(label)], names)}: {len(rest)} samples for {folds} folds",
                cure="use fewer folds or drop small classes",
            )
        test.append(sealed)
        for number, part in enumerate(np.array_split(rest, folds)):
            parts[number].append(part)
    cut = [np.sort(np.concatenate(part)) for part in parts]
    everything = np.sort(np.concatenate(cut))
    drawn = tuple(Fold(np.setdiff1d(everything, validation), validation) for validation in cut)
    return drawn, np.sort(np.concatenate(test))


def _hash(kind: str, folds: tuple[Fold, ...], test: np.ndarray) -> str:
    rows = [kind, test.tolist(), [[fold.train.tolist(), fold.validation.tolist()] for fold in folds]]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()
