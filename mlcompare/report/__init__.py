"""Reports: the results of studies as one HTML file, and rankings as text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

__all__ = ["write_report"]

Format = Literal["html", "markdown", "latex"]


def write_report(
    stores: list[Path], out: Path | None = None, *, format: Format = "html",
    unfinished: Mapping[Path, str] | None = None,
) -> Path:  # fmt: skip
    """Write one self-contained HTML file about a study, or about several, or its tables, and return the path.

    Args:
        stores: directories of studies; with two or more the losses are also ranked over all of them.
        out: the file; ``report.html`` (``.md``, ``.tex``) in the first store by default.
        format: ``html`` is the report; ``markdown`` and ``latex`` have question, answer, ranking and notes of each
            study for a pull request or a paper.
        unfinished: store → what is not done in it, which the report says in the first place.

    Raises:
        InvalidValueError: no store, or one named twice.
        StoreError: a store is missing, unfinished or damaged, or ``out`` can't be written.
        DataError: a store's results hold no row.
    """
    from mlcompare.report.write import write  # plotly and scikit-learn take a second to import

    return write(stores, out, format=format, unfinished=unfinished or {})
