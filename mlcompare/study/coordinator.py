"""The coordinator: asks, hands out jobs, and writes down what comes back. One for each store."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from typing import Any, Protocol

from mlcompare.execution.bundles import Bundle
from mlcompare.execution.executors import Executor
from mlcompare.metrics import higher_is_better
from mlcompare.search.proposals import propose
from mlcompare.search.racing import Race
from mlcompare.search.transfer import Transfer
from mlcompare.study.engine import MAX_WIDTH
from mlcompare.study.job_record import job_record, keep_artifacts
from mlcompare.study.journaled_trials import JournaledTrials
from mlcompare.study.plan import StudyPlan
from mlcompare.study.store import Store
from mlcompare.training import BASELINES, TrainingJob, TrainingResult
from mlcompare.training.checkpoint import discard, make_room, sweep
from mlcompare.training.population import population_key

__all__ = ["Coordinator", "Observer"]


def _shared_work(job: TrainingJob) -> str | None:
    """Return what the baselines that go together have in common: a descriptor's folds are described once."""
    return job.key if BASELINES.usable(str(job.baseline)).fitted else job.baseline


class Observer(Protocol):
    """Whoever wants to know how a study goes: the progress bar, the trackers."""

    def job_done(self, record: dict[str, Any]) -> None: ...

    def trial_done(self, loss: str, trial: int, objective: float | None, records: list[dict[str, Any]]) -> None: ...


class Coordinator:
    """Runs a plan in a store until nothing is left to do.

    The journal decides what is left: a job that stands in it is never run again. ``search.parallel`` trials are asked
    at a time and told in number order, so the numbers depend neither on the executor nor on who finishes first.
    """

    def __init__(
        self, plan: StudyPlan, store: Store, executor: Executor, observers: list[Observer], *,
        populations: bool = False, width: int | None = None,
    ) -> None:  # fmt: skip
        self.plan, self.store, self.executor, self.observers = plan, store, executor, observers
        self._populations, self._width = populations, width or MAX_WIDTH
        journaled = [tuple(r["keys"]) for r in store.records if r["type"] == "population"]
        self._population_of = {key: keys for keys in journaled for key in keys}
        self.done = {r["key"]: r for r in store.records if r["type"] == "job"}
        self.asked = {(r["loss"], r["trial"]): r for r in store.records if r["type"] == "ask"}
        self.opened = {r["loss"]: r for r in store.records if r["type"] == "opening"}
        self.stopped = {(r["loss"], r["trial"]): r for r in store.records if r["type"] == "stop"}
        self.trials = JournaledTrials(plan, self.done, self.asked, self.stopped)
        self.resumed = len(self.done)
        self._transfers: dict[str, Transfer] = {}
        self._waiting: dict[str, set[str]] = {}  # loss → keys of the jobs its next step waits for
        self._running: dict[str, Bundle] = {}  # key → the bundle that it was handed in with

    @property
    def changed(self) -> bool:
        """Whether anything was trained that the store did not have."""
        return len(self.done) > self.resumed

    def run(self) -> None:
        """Run to the end; an interruption leaves a store that the same call completes.

        Baselines run when every training of a loss is done or running: none of them waits for a baseline.
        """
        missing = [job for job in self.plan.baseline_jobs() if job.key not in self.done]
        baselines: list[Bundle] = [tuple(jobs) for _, jobs in groupby(missing, _shared_work)]
        queue: deque[Bundle] = deque()
        make_room(self.plan.scratch)
        for loss in self.plan.losses:
            queue.extend(self._advance(loss))
        try:
            while queue or baselines or self.executor.active:
                if not queue and (self._all_open() or not self.executor.active):
                    queue.extend(baselines)
                    baselines = []
                while queue and self.executor.active < self.executor.workers:
                    self._submit(queue.popleft())
                finished = self.executor.wait()
                for job, result in finished:
                    queue.extend(self._finish(job, result))
                for bundle in [self._running.pop(job.key, (job,)) for job, _ in finished]:
                    discard(bundle)  # a bundle comes back whole: all of it is journaled
            sweep(self.plan.scratch)
        finally:
            self.executor.close()

    def _submit(self, bundle: Bundle) -> None:
        self._running |= dict.fromkeys((job.key for job in bundle), bundle)
        self.executor.submit(bundle)

    def _all_open(self) -> bool:
        """Whether every loss is searched, so that nothing more will be asked for."""
        total = self.plan.config.search.trials
        return all(self.opened.get(loss, {}).get("trials") == total for loss in self.plan.losses)

    def _finish(self, job: TrainingJob, result: TrainingResult) -> Iterator[Bundle]:
        if (
            job.key in self.done
        ):  # it was journaled before a population was cut off, and is repeated only for the others
            return
        if result.artifacts:
            keep_artifacts(self.store, job, result.artifacts)
        record = job_record(job, result, self.store.path)
        self.store.append(record)
        self.done[job.key] = record
        for observer in self.observers:
            observer.job_done(record)
        loss = record["loss"]
        waiting = self._waiting.get(loss, set())
        waiting.discard(job.key)
        if job.kind == "trial":
            self._report_trial(loss, record["trial"])
        if job.kind != "baseline" and not waiting:
            yield from self._advance(loss)

    # ------------------------------------------------------------------ the search of one loss, step by step

    def _advance(self, loss: str) -> Iterator[Bundle]:
        """Yield the bundles of the loss's next step that are not done yet: a round of trials, then the finals."""
        total, parallel = self.plan.config.search.trials, self.plan.config.search.parallel
        for first in range(0, total, parallel):
            numbers = range(first, min(first + parallel, total))
            asks = self._ask(loss, numbers)
            jobs = [job for ask in asks for job in self.plan.trial_jobs(loss, ask["trial"], ask["hyperparameters"])]
            for step in self._race(loss, jobs, first):
                if any(job.key not in self.done for job in step):
                    yield from self._wait_for(loss, step)
                    return
        yield from self._wait_for(loss, self._open(loss))

    def _race(self, loss: str, jobs: list[TrainingJob], first: int) -> Iterator[list[TrainingJob]]:
        """Yield a round's jobs: all at once, or fold by fold without those of trials that are behind.

        Whoever stops is decided by the journal alone, when a step is done for the whole round: a resume decides alike.
        Along the steps, populations decide by a bound from the rounds before; single trainings, which know nothing of
        each other, race over folds instead.
        """
        racing = self.plan.config.search.racing
        race = Race(self.trials.whole(loss, first) if racing else [], early=racing == "early")
        along = racing == "steps" and self._populations
        if along and "steps" not in self.plan.losses[loss].dimensions:  # else equal steps aren't equally far
            least = tuple((step, self.trials.sign * value) for step, value in race.least)
            jobs = [replace(job, least=least, raced=len(self.plan.folds)) for job in jobs]
        by_fold = [[job for job in jobs if job.fold == fold] for fold in self.plan.folds]
        for group in by_fold if racing and not along else [jobs]:
            running = [job for job in group if (loss, job.trial) not in self.stopped]
            yield running
            last = group[-1].fold == self.plan.folds[-1]
            for trial in dict.fromkeys(job.trial for job in running if job.trial is not None):
                ended = any(record["status"] == "stopped" for record in self.trials.records(loss, trial))
                scores = self.trials.scores(loss, trial)
                seen = {f: scores[f] for f in self.plan.folds if f <= group[-1].fold and f in scores}
                all_seen = len(seen) == group[-1].fold + 1  # a resume knows later folds; one that failed has no score
                if ended or (not last and all_seen and race.behind(seen)):
                    self._stop(loss, trial)

    def _stop(self, loss: str, trial: int) -> None:
        if (loss, trial) in self.stopped:
            return
        records = self.trials.records(loss, trial)
        record = {"type": "stop", "loss": loss, "trial": trial, "folds": len(records)}
        self.store.append(record)
        self.stopped[loss, trial] = record
        for observer in self.observers:
            observer.trial_done(loss, trial, None, records)

    def _wait_for(self, loss: str, jobs: list[TrainingJob]) -> Iterator[Bundle]:
        """Yield what is not done of one step's jobs, alone or as populations."""
        missing = [job for job in jobs if job.key not in self.done]
        self._waiting[loss] = {job.key for job in missing}
        if not self._populations:
            yield from ((job,) for job in missing)
            return
        by_key = {job.key: job for job in jobs}
        for job in missing:  # an extended study may have selected anew: some members are no longer asked for
            keys = self._population_of.get(job.key, ())
            if not all(key in by_key for key in keys):
                self._population_of = {k: members for k, members in self._population_of.items() if members != keys}
        self._form_populations([job for job in missing if job.key not in self._population_of])
        for keys in dict.fromkeys(self._population_of[job.key] for job in missing):
            yield tuple(by_key[key] for key in keys)

    def _form_populations(self, jobs: list[TrainingJob]) -> None:
        """Decide who trains with whom, and journal it: a population is repeated whole, so that its numbers repeat."""
        groups: dict[Any, list[str]] = {}
        for job in jobs:
            key = population_key(job)
            groups.setdefault(job.key if key is None else key, []).append(job.key)
        for keys in groups.values():
            for first in range(0, len(keys), self._width):
                members = tuple(keys[first : first + self._width])
                self.store.append({"type": "population", "width": len(members), "keys": members})
                self._population_of |= dict.fromkeys(members, members)

    def _ask(self, loss: str, numbers: range) -> list[dict[str, Any]]:
        missing = [number for number in numbers if (loss, number) not in self.asked]
        if missing:
            plan, search = self.plan.losses[loss], self.plan.config.search
            proposals = propose(
                plan.space,
                [self.trials.told(loss, number) for number in range(numbers.start)],
                numbers,  # the whole round, also where a part of it was asked before: each ask sees those before it
                seed_parts=("search", search.seed, self.store.first_name(self.plan.config.name), loss),
                first=plan.first,
                transfer=self._transfer(loss),
                trials=search.trials,
                startup_trials=search.startup_trials,
                maximize=higher_is_better(self.plan.objective),
            )
            for proposal in (p for p in proposals if p.number in missing):
                record = {
                    "type": "ask",
                    "loss": loss,
                    "trial": proposal.number,
                    "source": proposal.source,
                    "hyperparameters": proposal.values,
                }
                self.store.append(record)
                self.asked[loss, proposal.number] = record
        return [self.asked[loss, number] for number in numbers]

    def _transfer(self, loss: str) -> Transfer | None:
        """What a loss's search learns from other situations, if it does; made once."""
        plan = self.plan.losses[loss]
        if plan.earlier and loss not in self._transfers:
            self._transfers[loss] = Transfer(plan.space, plan.earlier, seed=self.plan.config.search.seed)
        return self._transfers.get(loss)

    def _report_trial(self, loss: str, trial: int) -> None:
        records = self.trials.records(loss, trial)
        whole = len(records) == len(self.plan.folds) and all(record["status"] != "stopped" for record in records)
        if whole:  # what a race stops is reported when it is
            for observer in self.observers:
                observer.trial_done(loss, trial, self.trials.objective(records), records)

    def _open(self, loss: str) -> list[TrainingJob]:
        """Open the sealed classes for the default and the selected setting; record it; return their jobs.

        A study extended by more trials selects, and so opens, anew.
        """
        total = self.plan.config.search.trials
        if loss not in self.opened or self.opened[loss]["trials"] != total:
            settings = {"default": 0, "selected": self._select(loss)}
            record = {"type": "opening", "loss": loss, "trials": total, "settings": settings}
            self.store.append(record)
            self.opened[loss] = record
        trials = sorted({trial for trial in self.opened[loss]["settings"].values() if trial is not None})
        jobs = []
        for trial in trials:
            jobs += self.plan.final_jobs(loss, trial, self.asked[loss, trial]["hyperparameters"])
        return jobs

    def _select(self, loss: str) -> int | None:
        """The best trial by the objective, the first of equals; ``None`` where every trial failed."""
        good = [
            (self.trials.sign * trial.objective, -trial.number)
            for trial in self.trials.finished(loss)
            if trial.objective is not None and not trial.stopped_after
        ]
        return -max(good)[1] if good else None
