"""The comparison as one MLflow run: report and tables, beside the runs they are about."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlcompare.tracking.description import describe
from mlcompare.tracking.records import Run
from mlcompare.tracking.tracker import Tracker

__all__ = ["CHALLENGES", "log_comparison"]

CHALLENGES = "challenges.json"
FILES = ("report.html", CHALLENGES, "ranking.csv", "results.parquet", "per_class.parquet")


def log_comparison(tracker: Tracker, store: Path, best: Mapping[str, Any] | None, sentence: str) -> str | None:
    """Log a run ``kind=comparison`` with the store's report and tables; return why that failed, or None.

    The same results are logged once: the run's key is their digest. The experiment's page says the answer and links
    to the report.

    Args:
        tracker: the store's, which is closed.
        best: the best loss's row of the ranking.
        sentence: the study's question, answered.
    """
    known = json.loads((store / "study.json").read_text(encoding="utf-8"))
    study, objective = known["study"], known["study"]["search"]["objective"]
    told = [store / name for name in ("results.parquet", CHALLENGES) if (store / name).is_file()]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in told)).hexdigest()
    best = best or {}
    numbers = {name: best.get(name) for name in ("mean", "ci_low", "ci_high")}
    run = Run(
        key=f"comparison/{digest[:16]}",
        name="comparison",
        tags={"kind": "comparison", "answer": sentence[:1000], **({"loss": best["loss"]} if best else {})},
        params={"objective": objective, "trials": study["search"]["trials"], "splits": known["splits"]},
        metrics=tuple((f"test_{objective}_{k}", float(v), 0) for k, v in numbers.items() if v is not None),
        artifacts=tuple((str(store / name), "") for name in FILES if (store / name).is_file()),
        page=describe(study, sentence),
    )
    tracker.log(run)
    return tracker.close()
