"""Studies: from a file to a journal of every training."""

from mlcompare.study.config import StudyConfig, read_study
from mlcompare.study.journal import read_journal
from mlcompare.study.plan import StudyPlan, make_plan
from mlcompare.study.runner import StudyOutcome, default_store, run_study
from mlcompare.study.store import Store

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
