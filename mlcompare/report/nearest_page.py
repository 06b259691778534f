"""A page of pictures: queries, and what a model finds nearest to each."""

from __future__ import annotations

from collections.abc import Sequence

from mlcompare.report.page import Part, document, render
from mlcompare.report.sheets import Sample

__all__ = ["MOST_DRAWN", "nearest_page"]

MOST_DRAWN = 200  # queries

Row = tuple[Sample, Sequence[tuple[Sample, float, bool | None]]]  # a query; neighbours, cosines, verdicts


def nearest_page(
    title: str, rows: Sequence[Row], *, threshold: float | None, told: str, left: int, versions: Sequence[str]
) -> str:
    """Return one self-contained HTML file.

    Args:
        threshold: the cosine from which two count as one class, and ``told`` where it comes from.
        left: how many queries are not among the rows.
    """
    body = render("nearest", rows=rows, threshold=threshold, told=told, left=left)
    head = render("head", title=title, names=[], answer="")
    return document(title, head, [Part("nearest", "Nearest neighbours", body)], versions)
