"""Levels of a hierarchy: the groups that classes lie in (poodle → dogs → mammals), from the finest to the coarsest.

A class stays the unit of everything: of the split, of what is sealed, of batches. A level says of each class which
group it lies in, and groups lie in one another: a tree.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlcompare.data.labels import encode_labels
from mlcompare.errors import DataError, InvalidValueError, did_you_mean

__all__ = ["Levels", "check_levels", "fingerprint_with", "group_codes", "groups_of_classes", "levels_above"]

Levels = Mapping[str, tuple[str, ...]]  # the name of a level → the group of each class (C,)


def check_levels(levels: Levels, class_names: Sequence[str], *, place: str) -> None:
    """Check that levels have a group for each class, and that the groups of each lie in those of the next: a tree.

    Raises:
        InvalidValueError: a name that can't stand in a metric's.
        DataError: another number of groups, or a group in two groups of the next level.

    >>> levels = {"kind": ("dogs", "cats", "dogs"), "size": ("small", "small", "large")}
    >>> check_levels(levels, ("terrier", "siamese", "poodle"), place="pets")
    Traceback (most recent call last):
    mlcompare.errors.DataError: pets: each group must lie in one group of the next level, got dogs of `kind` in small...
    """
    finer = ""
    for name, groups in levels.items():
        if not re.fullmatch(r"[^\W\d]\w*", name) or re.search(r"_in_\d+$", name) or name == "class":
            rule = "a level's name is letters, digits and underscores, and not `class`"
            raise InvalidValueError(rule, value=repr(name), cure="rename it: metrics end with it", place=place)
        if len(groups) != len(class_names):
            value = f"{len(groups)} of `{name}` for {len(class_names)} classes"
            raise DataError("a level must have a group for each class", value=value, place=place)
        inside: dict[str, str] = {}
        for fine, coarse in zip(levels[finer] if finer else (), groups):
            if inside.setdefault(fine, coarse) != coarse:
                value = f"{fine} of `{finer}` in {inside[fine]} and {coarse} of `{name}`"
                cure = "order the levels from the finest to the coarsest, or leave one out"
                raise DataError(
                    "each group must lie in one group of the next level", value=value, cure=cure, place=place
                )
        finer = name


def groups_of_classes(
    columns: Mapping[str, Any], labels: np.ndarray, class_names: Sequence[str], *, place: str
) -> dict[str, tuple[str, ...]]:
    """Return the group of each class at each level, from columns that say it of each sample ``(N,)``.

    Raises:
        DataError: a column is no label for each row, or a class lies in two groups.

    >>> groups_of_classes({"kind": ["dog", "cat", "dog"]}, np.array([0, 1, 0]), ("poodle", "siamese"), place="pets")
    {'kind': ('dog', 'cat')}
    """
    _, first = np.unique(labels, return_index=True)
    found = {}
    for name, values in columns.items():
        codes, groups = encode_labels(values, place=f"{place}: `{name}`")
        if len(codes) != len(labels):
            value = f"{len(codes)} of `{name}` for {len(labels)} rows"
            raise DataError("a level must have a group for each row", value=value, place=place)
        of_class = codes[first]
        for row in np.flatnonzero(codes != of_class[labels])[:1]:
            value = (
                f"{class_names[labels[row]]} in {groups[of_class[labels[row]]]} and {groups[codes[row]]} of `{name}`"
            )
            cure = f"correct the rows, or leave `{name}` out of levels"
            raise DataError("each class must lie in one group of a level", value=value, cure=cure, place=place)
        found[name] = tuple(groups[code] for code in of_class)
    return found


def levels_above(classes: Sequence[str], names: Sequence[str], *, place: str) -> dict[str, list[str]]:
    """Return the folders above each class's own as columns, the nearest first: of ``mammals/dogs/poodle`` its parents.

    Raises:
        DataError: a class lies less deep than there are names.

    >>> levels_above(["mammals/dogs/poodle"], ["kind", "realm"], place="pets")
    {'kind': ['mammals/dogs'], 'realm': ['mammals']}
    """
    if not names:
        return {}
    shallow = next((one for one in classes if one.count("/") < len(names)), None)
    if shallow is not None:
        rule = f"each class must lie in {len(names)} folder{'s' if len(names) > 1 else ''}, one for each level"
        cure = "name fewer levels, or nest the folders: dogs/poodle"
        raise DataError(rule, value=shallow, cure=cure, place=place)
    return {name: [one.rsplit("/", depth)[0] for one in classes] for depth, name in enumerate(names, 1)}


def group_codes(levels: Levels, name: str) -> np.ndarray:
    """Return the groups of a level as whole numbers from 0, one for each class: ``(C,)``.

    Raises:
        InvalidValueError: there is no such level.
    """
    if name not in levels:
        cure = did_you_mean(name, levels) if levels else "give the dataset `levels`, or choose another metric"
        value = repr(name)
        raise InvalidValueError("the dataset must have the level that a metric is of", value=value, cure=cure)
    codes: np.ndarray = np.unique(levels[name], return_inverse=True)[1]
    return codes.reshape(-1).astype(np.int64)


def fingerprint_with(levels: Levels, fingerprint: str) -> str:
    """Return a dataset's fingerprint with its levels in it; without levels it stays as it is."""
    told = f"{fingerprint} {sorted(levels.items())!r} {list(levels)!r}"
    return hashlib.sha256(told.encode()).hexdigest() if levels else fingerprint
