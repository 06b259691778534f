"""Studies: from a file to a journal of every training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlcompare.lazy_names import lazy_names

_homes = {
    "Store": "store",
    "StudyConfig": "config",
    "StudyOutcome": "runner",
    "StudyPlan": "plan",
    "default_store": "runner",
    "make_plan": "plan",
    "read_journal": "journal",
    "read_study": "config",
    "run_study": "runner",
}
__all__ = [
    "Store",
    "StudyConfig",
    "StudyOutcome",
    "StudyPlan",
    "default_store",
    "make_plan",
    "read_journal",
    "read_study",
    "run_study",
]

if TYPE_CHECKING:
    from mlcompare.study.config import StudyConfig, read_study
    from mlcompare.study.journal import read_journal
    from mlcompare.study.plan import StudyPlan, make_plan
    from mlcompare.study.runner import StudyOutcome, default_store, run_study
    from mlcompare.study.store import Store

__getattr__, __dir__ = lazy_names(__name__, _homes)
