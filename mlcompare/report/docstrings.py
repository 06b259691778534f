"""Docstrings as people read them on a terminal: without markup, and wrapped by the terminal alone."""

from __future__ import annotations

import inspect
import re

__all__ = ["plain"]

ROLE = re.compile(r":\w+:`~?(?:[\w.]*\.)?(\w+)`")


def plain(doc: str) -> str:
    """Return a docstring's paragraphs, each on one line; examples and indented lines stay as they are.

    >>> plain("Like :class:`~mlcompare.losses.cosface.CosFace`,\\n    but ``s`` is\\n    learned.")
    'Like CosFace, but ``s`` is learned.'
    """
    blocks = inspect.cleandoc(doc).split("\n\n")
    return "\n\n".join(block if _laid_out(block) else " ".join(block.split("\n")) for block in map(_bare, blocks))


def _bare(block: str) -> str:
    return ROLE.sub(r"\1", block)


def _laid_out(block: str) -> bool:
    """Whether a block's lines are lines: an example, a list, or one that is indented."""
    return any(line.startswith((">>>", " ", "- ", "* ")) for line in block.split("\n"))
