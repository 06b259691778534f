"""What decoders say while they read a file: Pillow's warnings and log, and libtiff's lines on the standard error."""

from __future__ import annotations

import logging
import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

__all__ = ["heard", "standard_error"]

PIECE_NAME = re.compile(r"^tempfile\.tif: ")  # what Pillow calls every file before libtiff


class _Ear(logging.Handler):
    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(record.getMessage())


@contextmanager
def heard(said: list[str]) -> Iterator[None]:
    """Collect what Pillow warns of or logs in this block in ``said``, one line each, instead of printing it.

    >>> said = []
    >>> with heard(said):
    ...     warnings.warn("odd")
    >>> said
    ['odd']
    """
    logger, ear = logging.getLogger("PIL"), _Ear(said)
    propagates = logger.propagate
    logger.addHandler(ear)
    logger.propagate = False
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            logger.removeHandler(ear)
            logger.propagate = propagates
            said += [" ".join(str(warning.message).split()) for warning in caught]


@contextmanager
def standard_error(said: list[str]) -> Iterator[None]:
    """Collect the lines that a C library writes to the standard error in this block, which Python can't catch."""
    with tempfile.TemporaryFile() as file:
        try:
            kept = os.dup(2)
        except OSError:  # there is none
            yield
            return
        try:
            os.dup2(file.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            with suppress(OSError):
                said += _lines(file)


def _lines(file: BinaryIO) -> list[str]:
    file.seek(0)
    lines = file.read(1 << 16).decode("utf-8", "replace").splitlines()
    return [PIECE_NAME.sub("", line.strip()) for line in lines if line.strip() and "\x1b" not in line]  # no bar's
