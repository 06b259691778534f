"""The official split as lists write it: a column `split`, or columns such as `train`, `test`, `is_query`, `is_gallery`.

A split under another name is refused by that name: a list that has one is never read as if it had none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlcompare.data.labels import checked_split
from mlcompare.data.skipped import SPLIT_FOLDERS
from mlcompare.errors import DataError

__all__ = ["SPLIT_WORDS", "is_flag", "official_split", "refuse_other_splits"]

RETRIEVAL = {"query": "test", "gallery": "test"}  # both are sealed
SPLIT_WORDS: Mapping[str, str] = {**SPLIT_FOLDERS, **RETRIEVAL}
YES, NO = {"1", "1.0", "true", "yes"}, {"0", "0.0", "false", "no", "", "none", "nan"}
SHOWN = 3


def is_flag(name: str) -> bool:
    """Whether a column of this name says which rows belong to a part.

    >>> [is_flag(name) for name in ("train", "is_query", "validation", "label")]
    [True, True, True, False]
    """
    return name.lower().removeprefix("is_") in SPLIT_WORDS


def official_split(
    columns: Mapping[str, Sequence[Any]], count: int, *, place: str
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return the official split ``(N,)`` of a list, or None, and what a reader should know of it.

    Args:
        columns: ``split``, where there is one, and those that :func:`is_flag` knows; others are left alone.
        count: how many rows there are.

    Raises:
        DataError: a part is not known, a flag is neither true nor false, or a row belongs to no part or to two.
    """
    flags = {name: _flags(name, values, place) for name, values in columns.items() if is_flag(name)}
    named, notes = None, []
    if "split" in columns:
        named, retrieval = _named_parts(columns["split"], count, place)
        notes += [f"rows of split {' and '.join(retrieval)} are read as test; {ALIKE}"] if retrieval else []
    if not flags:
        return named, tuple(notes)
    part = np.full(count, "", dtype="U10") if named is None else named.astype("U10")
    from_flags = np.full(count, "", dtype="U10")
    for name, true in flags.items():
        meant = SPLIT_WORDS[name.lower().removeprefix("is_")]
        other_part = (part != "") & (part != meant)
        if name.lower().removeprefix("is_") in RETRIEVAL:  # lists of retrieval call what is tested validation
            other_part &= part != "validation"
        clash = true & (other_part | ((from_flags != "") & (from_flags != meant)))
        for row in np.flatnonzero(clash)[:1]:
            other = part[row] or from_flags[row]
            got = f"{other} and `{name}` in row {row}"
            raise DataError("each row must belong to one part", value=got, cure="correct the list", place=place)
        from_flags[true] = meant
    part = np.where(from_flags != "", from_flags, part)
    if set(flags) and all(name.lower().removeprefix("is_") in RETRIEVAL for name in flags):
        part[part == ""] = "train"
    for row in np.flatnonzero(part == "")[:1]:
        got, cure = f"none in row {row}", "mark each row in one of the columns, or write a column `split`"
        raise DataError(f"each row must belong to a part ({', '.join(flags)})", value=got, cure=cure, place=place)
    listed = " and ".join(f"`{name}`" for name in flags)
    ranked = {name.lower().removeprefix("is_") for name in flags} & RETRIEVAL.keys()
    notes.append(f"the columns {listed} are read as the official split" + (f"; {ALIKE}" if ranked else ""))
    return part.astype(str), tuple(notes)


ALIKE = "every sealed sample is looked for among all the others, query or gallery"


def _named_parts(values: Sequence[Any], count: int, place: str) -> tuple[np.ndarray, list[str]]:
    """Return the parts that a column `split` names, whichever of the usual words it uses, and which are retrieval's."""
    array = np.asarray(values)
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    words = array.astype(str)
    known = np.array([SPLIT_WORDS.get(word, word) for word in words.ravel()], dtype=str).reshape(words.shape)
    return checked_split(known, count, place=place), sorted(set(words.ravel().tolist()) & RETRIEVAL.keys())


def _flags(name: str, values: Sequence[Any], place: str) -> np.ndarray:
    told = np.array([str(value).strip().lower() for value in values], dtype=object)
    yes, no = np.isin(told, sorted(YES)), np.isin(told, sorted(NO))
    for row in np.flatnonzero(~(yes | no))[:1]:
        rule = f"`{name}` must say of each row whether it belongs to that part: true or false"
        cure = f"write a column `split`, or rename `{name}` if it is something else"
        raise DataError(rule, value=f"{values[row]!r} in row {row}", cure=cure, place=place)
    return yes


def refuse_other_splits(columns: Mapping[str, Sequence[Any]], *, place: str) -> None:
    """Refuse a column of another name that holds nothing but names of parts, two or more of them.

    Raises:
        DataError: with the column's name.

    >>> refuse_other_splits({"colour": ["red", "test"]}, place="list")
    >>> refuse_other_splits({"subset": ["train", "test"]}, place="list")
    Traceback (most recent call last):
    mlcompare.errors.DataError: list: the official split must be called `split`, got a column `subset` of test, train...
    """
    for name, values in columns.items():
        words = {value.strip().lower() if isinstance(value, str) else None for value in values}
        if len(words) > 1 and None not in words and words <= SPLIT_WORDS.keys():
            got = f"a column `{name}` of {', '.join(sorted(map(str, words)))}"
            cure = f"rename `{name}` to `split`, or drop it"
            raise DataError("the official split must be called `split`", value=got, cure=cure, place=place)
