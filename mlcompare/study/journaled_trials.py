"""What the journal says of a loss's trials: what a search is told, and what races compare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlcompare.metrics import higher_is_better
from mlcompare.search.proposals import Told
from mlcompare.search.racing import Curve, Race, Scores
from mlcompare.study.job_record import reached
from mlcompare.study.plan import StudyPlan
from mlcompare.training import job_key

__all__ = ["JournaledTrials"]

Record = dict[str, Any]


class JournaledTrials:
    """Reads trials off the journal's records, which the coordinator adds to while it goes on.

    Args:
        plan: the study's.
        done: finished jobs by their keys.
        asked: what each loss and trial asked for.
        stopped: which trials a race stopped.
    """

    def __init__(
        self, plan: StudyPlan, done: Mapping[str, Record], asked: Mapping[tuple[str, int], Record],
        stopped: Mapping[tuple[str, int], Record],
    ) -> None:  # fmt: skip
        self._plan, self._done, self._asked, self._stopped = plan, done, asked, stopped

    def whole(self, loss: str, first: int) -> list[tuple[Scores, dict[int, Curve]]]:
        """The trials before a round that saw every fold and step."""
        trials = [n for n in range(first) if (loss, n) not in self._stopped]
        whole = [(self.scores(loss, n), self.curves(loss, n)) for n in trials]
        return [(scores, curves) for scores, curves in whole if len(scores) == len(self._plan.folds)]

    def curves(self, loss: str, trial: int) -> dict[int, Curve]:
        """The trial's learning curves by fold, larger is better; a point that couldn't be measured is left out."""
        found: dict[int, Curve] = {}
        for record in self.records(loss, trial):
            points = zip(record["curve"].get("step", []), record["curve"].get(self._plan.objective, []))
            found[record["fold"]] = {step: self.sign * value for step, value in points if value is not None}
        return found

    @property
    def sign(self) -> int:
        return 1 if higher_is_better(self._plan.objective) else -1

    def scores(self, loss: str, trial: int) -> dict[int, float]:
        """The trial's objective by fold, larger is better; folds that failed or were stopped are left out."""
        records = self.records(loss, trial)
        values = {record["fold"]: record["metrics"].get(self._plan.objective) for record in records}
        return {fold: self.sign * value for fold, value in values.items() if value is not None}

    def records(self, loss: str, trial: int) -> list[dict[str, Any]]:
        """Return the finished folds of a trial, in fold order."""
        keys = [job_key("trial", loss, trial=trial, fold=fold) for fold in self._plan.folds]
        return [self._done[key] for key in keys if key in self._done]

    def told(self, loss: str, trial: int) -> Told:
        values, records = self._asked[loss, trial]["hyperparameters"], self.records(loss, trial)
        if (loss, trial) in self._stopped:
            scores = [score for record in records if (score := reached(record, self._plan.objective)) is not None]
            mean = float(np.mean(scores)) if len(scores) == len(records) else None
            return Told(trial, values, mean, stopped_after=len(records), expected=self.expected(loss, trial))
        return Told(trial, values, self.objective(records))

    def expected(self, loss: str, trial: int) -> float | None:
        """What a trial that was spared some folds would have reached over all; None where it ended along its steps."""
        scores = self.scores(loss, trial)
        if not 0 < len(scores) < len(self._plan.folds) or len(scores) < len(self.records(loss, trial)):
            return None
        first = trial // self._plan.config.search.parallel * self._plan.config.search.parallel
        whole = self.whole(loss, first)
        return self.sign * Race(whole).expected(scores) if whole else None

    def objective(self, records: list[dict[str, Any]]) -> float | None:
        """The mean over the folds; ``None`` where a fold failed."""
        values = [record["metrics"].get(self._plan.objective) for record in records]
        if len(values) < len(self._plan.folds) or any(value is None for value in values):
            return None
        return float(np.mean(values))

    def finished(self, loss: str) -> list[Told]:
        """Return every finished trial of a loss, in number order."""
        numbers = range(self._plan.config.search.trials)
        return [
            self.told(loss, n)
            for n in numbers
            if (loss, n) in self._stopped
            or ((loss, n) in self._asked and len(self.records(loss, n)) == len(self._plan.folds))
        ]
