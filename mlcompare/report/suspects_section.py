"""The section on labels that may be wrong."""

from __future__ import annotations

from mlcompare.report.page import Part, render
from mlcompare.report.study import Study

__all__ = ["suspects_part"]

SHOWN = 30


def suspects_part(study: Study, prefix: str, level: int) -> Part | None:
    """Samples that the final models put among another class; None where there are none."""
    found = study.label_suspects()
    if not found:
        return None
    rows = [(s["name"], s["label"], s["looks_like"], f"{s['doubting']} of {s['models']}") for s in found[:SHOWN]]
    body = render("suspects", count=len(found), rows=rows)
    return Part(f"{prefix}-suspects-part", "Labels that may be wrong", body, level=level)
