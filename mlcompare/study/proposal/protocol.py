"""Who trains, who validates, who is sealed: chosen from the classes, their sizes and the official split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlcompare.data.survey import Survey
from mlcompare.errors import DataError

__all__ = ["Chosen", "choose_protocol"]

MANY_CLASSES = 16  # from which on classes can be sealed; fewer would tell nothing of new ones
FEWEST_CLASSES = 6  # 2 sealed, and 2 folds of 2
SEALED_SAMPLES = 10_000  # of more, each final training would mostly wait for its test
VALIDATED = 5  # classes that a fold validates on, where there are enough for that


@dataclass(frozen=True)
class Chosen:
    """A section of a study file, and the reason of each of its keys."""

    section: dict[str, Any]
    why: Mapping[str, str]


def choose_protocol(found: Survey) -> Chosen:
    """Return the section ``protocol``.

    Raises:
        DataError: there is one class, one sample in each class, or too few of both.
    """
    sizes, place = found.sizes, str(found.path)
    if len(sizes) < 2:
        cure = "give a folder or table with two classes or more"
        raise DataError("losses are compared by telling classes apart", value="1 class", cure=cure, place=place)
    if sizes.max() < 2:
        cure = "put the samples of one person, product or kind into one class"
        got = f"one sample in each of {len(sizes)} classes"
        raise DataError("some classes must have two samples or more", value=got, cure=cure, place=place)
    official = _official(found)
    if official is not None:
        return official
    unused = "the official split is not used, as it parts some classes and not others" if _has_test(found) else ""
    if len(sizes) < MANY_CLASSES and sizes.min() >= 3:
        return _closed(sizes - np.maximum(1, np.round(sizes * 0.2)).astype(int), unused)
    if len(sizes) < FEWEST_CLASSES:
        small = found.class_names[int(sizes.argmin())]
        got = f"{len(sizes)} classes, {sizes.min()} of {small!r}"
        cure = "collect more samples of the small classes, or leave these out"
        raise DataError(f"fewer than {FEWEST_CLASSES} classes need 3 samples each", value=got, cure=cure, place=place)
    return _disjoint(sizes, unused)


def _has_test(found: Survey) -> bool:
    return found.split is not None and bool((found.split == "test").any())


def _official(found: Survey) -> Chosen | None:
    """The published split, where it can be kept as it is."""
    if not _has_test(found):
        return None
    test = found.split == "test"
    sealed, rest = np.unique(found.labels[test]), np.unique(found.labels[~test])
    both = np.intersect1d(sealed, rest)
    if not len(both) and len(sealed) >= 2 and len(rest) >= 4:
        folds = _folds(len(rest))
        told = f"the published test classes, {len(sealed)} of them; no training sees them"
        return Chosen(
            {"kind": "class_disjoint", "test_classes": "official", "folds": folds},
            {"kind": UNSEEN, "test_classes": told, "folds": _told_folds(len(rest), folds)},
        )
    left = np.bincount(found.labels[~test], minlength=len(found.class_names))
    if len(both) == len(found.class_names) and left.min() >= 2:
        return _closed(left, "the published test samples are sealed")
    return None


UNSEEN = "test on classes never seen in training; closed_set would test on new samples of known classes"
KNOWN = "test on new samples of known classes; class_disjoint would test on classes never seen in training"


def _closed(left: np.ndarray, told: str) -> Chosen:
    """``left`` are the samples of each class that are not sealed."""
    folds = int(min(4 if left.sum() < 20_000 else 2, left.min()))
    why = {"kind": KNOWN, "folds": f"the samples that are not sealed, in {folds} parts: each validates once"}
    if told.startswith("the published"):
        return Chosen({"kind": "closed_set", "folds": folds}, {**why, "kind": f"{KNOWN} ({told})"})
    share = "of the samples of each class, sealed until the end" + (f"; {told}" if told else "")
    return Chosen({"kind": "closed_set", "test_share": 0.2, "folds": folds}, {**why, "test_share": share})


def _disjoint(sizes: np.ndarray, told: str) -> Chosen:
    classes = len(sizes)
    usual = 0.5 if classes >= 40 else 0.4
    fewest = min(20, usual * classes) / classes
    share = max(min(usual, SEALED_SAMPLES / float(sizes.sum())), fewest)
    share = share if share == usual else float(f"{share:.1g}")
    sealed = max(round(classes * share), 2)
    rest = classes - sealed
    folds = _folds(rest)
    why = f"{sealed} of {classes} classes are sealed, and opened once at the end"
    if share < usual:
        why += f"; about {SEALED_SAMPLES} samples are enough to test on"
    if sealed < 20:
        why += "; so few tell losses apart only where they differ much"
    return Chosen(
        {"kind": "class_disjoint", "test_classes": share, "folds": folds},
        {"kind": UNSEEN, "test_classes": why + (f"; {told}" if told else ""), "folds": _told_folds(rest, folds)},
    )


def _folds(classes: int) -> int:
    return next((folds for folds in (4, 3) if classes // folds >= VALIDATED), 2)


def _told_folds(classes: int, folds: int) -> str:
    held_out = classes // folds
    return f"the other {classes} in turn: {classes - held_out} train, {held_out} validate"
