"""Which key of a study file an error is about."""

from __future__ import annotations

from mlcompare.errors import MLCompareError, StudyFileError

__all__ = ["section"]


class section:
    """Turn any error of ours into a :class:`StudyFileError` that names file and key."""

    def __init__(self, place: str, key: str) -> None:
        self.place = f"{place}: {key}" if key else f"{place}: "

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, MLCompareError):
            inner = error.place or ""
            joint = "." if inner and not self.place.endswith(" ") else ""
            where = f"{self.place}{joint}{inner}".rstrip(": ")
            raise StudyFileError(error.rule, value=error.value, cure=error.cure, place=where) from None
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            cure, place = "choose a smaller one, or another machine", self.place.rstrip(": ")
            raise StudyFileError("it must fit into memory", value="out of memory", cure=cure, place=place) from None
        if isinstance(error, TypeError | ValueError):  # a dataset or encoder option of the wrong type
            raise StudyFileError("its options must fit", value=str(error), place=self.place.rstrip(": ")) from None
