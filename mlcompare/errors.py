"""Every error a user can meet: one base class, few leaves, and one shape of message.

An error names the *place* (file and key, or argument), the *rule* that was broken, the *value* that broke it and a
*cure*, in one line: ``place: rule, got value; cure``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

__all__ = [
    "DataError",
    "InvalidValueError",
    "MLCompareError",
    "StoreError",
    "StudyFileError",
    "UnknownNameError",
    "did_you_mean",
]


class MLCompareError(Exception):
    """Base class of every error raised on purpose by mlcompare.

    Args:
        rule: what must hold, in words.
        value: what was found instead (already formatted, such as ``"scale=-1"``).
        cure: what to do about it.
        place: where: a file and key, or a function and argument.

    >>> print(MLCompareError("`scale > 0` must hold", value="scale=-1", cure="typical values are 16 to 64",
    ...                      place="cosface"))
    cosface: `scale > 0` must hold, got scale=-1; typical values are 16 to 64
    """

    def __init__(
        self, rule: str, *, value: str | None = None, cure: str | None = None, place: str | None = None
    ) -> None:
        super().__init__(rule)
        self.rule, self.value, self.cure, self.place = rule, value, cure, place

    def __str__(self) -> str:
        text = self.rule
        if self.place:
            text = f"{self.place}: {text}"
        if self.value:
            text = f"{text}, got {self.value}"
        if self.cure:
            text = f"{text}; {self.cure}"
        return text

    def __reduce__(self) -> tuple[Any, ...]:  # keyword arguments survive the trip between processes
        return _rebuild, (type(self), self.rule, self.value, self.cure, self.place)

    def at(self, place: str) -> MLCompareError:
        """Return the same error with ``place`` put before the place it has."""
        joined = f"{place}: {self.place}" if self.place else place
        return type(self)(self.rule, value=self.value, cure=self.cure, place=joined)


def _rebuild(
    kind: type[MLCompareError], rule: str, value: str | None, cure: str | None, place: str | None
) -> MLCompareError:
    return kind(rule, value=value, cure=cure, place=place)


class InvalidValueError(MLCompareError, ValueError):
    """A value, shape or type breaks a rule."""


class UnknownNameError(MLCompareError, LookupError):
    """A name that nothing is registered under; the message suggests the nearest ones."""


class StudyFileError(MLCompareError, ValueError):
    """A study file can't be read or contradicts itself."""


class DataError(MLCompareError, ValueError):
    """A dataset is missing, broken, or too small for what is asked of it."""


class StoreError(MLCompareError, RuntimeError):
    """A store is locked, damaged, or belongs to another study."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a cure for an unknown ``name``: the nearest known names, or all of them when none is near.

    >>> did_you_mean("cosfce", ["cosface", "softmax"])
    'did you mean cosface?'
    >>> did_you_mean("zzz", ["cosface", "arcface"])
    'known: arcface, cosface'
    """
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"known: {', '.join(known)}" if known else "nothing is known here"
