"""Run a study from a file or a configuration: plan, store, executor, views."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

from rich.console import Console

from mlcompare.errors import InvalidValueError
from mlcompare.execution.devices import cpu_count, resolve_devices
from mlcompare.execution.executors import create_executor
from mlcompare.files import check_folder
from mlcompare.metrics import higher_is_better
from mlcompare.study.config import StudyConfig, as_study
from mlcompare.study.coordinator import Coordinator
from mlcompare.study.data_notes import keep_data_notes
from mlcompare.study.engine import settle_engine
from mlcompare.study.feature_scale import scale_note
from mlcompare.study.label_suspects import keep_suspects, suspects_sentence
from mlcompare.study.logged_names import logged_names
from mlcompare.study.memory import too_little_memory
from mlcompare.study.nested import is_nested, join_parts, part_of, part_stores
from mlcompare.study.notebook import notebook_console, results_html
from mlcompare.study.optuna_view import write_optuna
from mlcompare.study.plan import StudyPlan, make_plan
from mlcompare.study.progress import ProgressObserver
from mlcompare.study.remaining import Remaining
from mlcompare.study.results_table import write_tables
from mlcompare.study.sealed_samples import keep_contents, keep_test_samples
from mlcompare.study.store import STORE_CURE, STORE_RULE, Store
from mlcompare.study.symbols import keep_symbols
from mlcompare.study.tracked import study_fingerprint, tracker_of
from mlcompare.study.warm_start import started_from
from mlcompare.tracking import Tracker, check_address
from mlcompare.tracking.study_runs import artifacts_of, job_run, runs_of, sources_of, trial_run

__all__ = ["StudyOutcome", "default_store", "run_study"]


MEASURED_AGAIN = (
    "added metrics ({listed}): final trainings and baselines are run again to measure them; trials of the search, here "
    "and in MLflow, have the objective and recall_at_1 alone"
)
CLOSING_SECONDS = 10.0  # for what is queued for MLflow when a study breaks off: the next run catches up


@dataclass(frozen=True)
class StudyOutcome:
    """What a call of :func:`run_study` did: ``resumed`` trainings were found done, ``trained`` were run now.

    ``experiment_id`` is MLflow's, ``fingerprint`` what its runs are tagged with; ``tracking_fault`` says why something
    is not in MLflow yet.
    """

    store: Path
    resumed: int
    trained: int
    seconds: float
    tracking_fault: str | None = None
    experiment_id: str | None = None
    fingerprint: str = ""
    objective: str = ""

    def _repr_html_(self) -> str:
        """What a notebook shows: the results as a table."""
        done = f"<p>{escape(str(self.store))}: {self.trained} trainings in {self.seconds:.0f} s</p>"
        return done + results_html(self.store, self.objective)


def default_store(name: str) -> Path:
    """Return ``runs/<study name>``."""
    return Path("runs") / name


class _Tracking:
    """Observer that turns finished work into MLflow runs."""

    def __init__(self, tracker: Tracker, coordinator: Coordinator) -> None:
        self._tracker, self._coordinator = tracker, coordinator
        self._names = logged_names(coordinator.plan.config.losses)

    def job_done(self, record: dict[str, Any]) -> None:
        if record["kind"] != "trial":
            openings = {loss: opened["settings"] for loss, opened in self._coordinator.opened.items()}
            store, objective = self._coordinator.store.path, self._coordinator.plan.objective
            sources, kept = sources_of(record, openings), artifacts_of(record, openings, store)
            self._tracker.log(job_run(record, sources, objective, kept, names=self._names))

    def trial_done(self, loss: str, trial: int, objective: float | None, records: list[dict[str, Any]]) -> None:
        source = self._coordinator.asked[loss, trial]["source"]
        early = self._coordinator.stopped.get((loss, trial), {}).get("folds", 0)
        told = self._coordinator.plan.objective
        self._tracker.log(trial_run(records, source, told, stopped=early, names=self._names))


def run_study(
    study: StudyConfig | dict[str, Any] | str | Path,
    store: str | Path | None = None,
    *,
    trials: int | None = None,
    steps: int | None = None,
    seeds: int | None = None,
    executor: str = "auto",
    workers: int | None = None,
    device: str = "auto",
    devices: str | Sequence[str] | None = None,
    threads: int = 1,
    tracking_uri: str | None = None,
    ray_address: str | None = None,
    gpus_per_job: float = 0.0,
    populations: bool | None = None,
    timeout: float | None = None,
    extend: bool = False,
    retry_failed: bool = False,
    start_from: Sequence[str | Path] = (),
    console: Console | None = None,
) -> StudyOutcome:
    """Run a study, or finish one that was interrupted.

    Args:
        study: a study file, or its content.
        store: the directory; ``runs/<study name>`` by default.
        trials, steps, seeds: a budget that replaces the file's.
        executor, workers, device: where jobs run; the numbers don't depend on how many workers, nor on the executor
            where each trains alone (populations agree within rounding).
        devices: what workers are spread over, in place of ``device``: ``all``, or names such as ``cuda:0,cuda:1``.
        threads: of each training. They change rounding: a store keeps to theirs.
        tracking_uri: an MLflow server; the store's own database by default.
        ray_address, gpus_per_job: for ``executor="ray"``: the cluster (one on this machine by default), and the GPUs
            of a job, such as 0.25 where four share one.
        populations: train the folds and trials of a round as one program; ``auto`` measures, ``population`` does.
        timeout: seconds after which a training counts as hung and fails.
        extend: allow more trials, seeds, losses or metrics than the store was made with.
        retry_failed: train again what failed before.
        start_from: stores of earlier studies, whose best settings this search begins with. What was taken is journaled
            once: a resumed study goes by it, and needs those stores no more.
        console: where progress is shown; by default in a notebook below its cell, elsewhere nowhere.

    Raises:
        StudyFileError: the study contradicts itself, its data or the registry; nothing is written.
        StoreError: the store is held, damaged, or belongs to another study.
    """
    started = time.perf_counter()
    console = console or notebook_console()
    check_address(tracking_uri)
    place = str(study) if isinstance(study, str | Path) else "study"
    config = as_study(study).replaced(trials=trials, steps=steps, seeds=seeds)
    path = Path(store).expanduser() if store is not None else default_store(config.name)
    check_folder(path, STORE_RULE, cure=STORE_CURE, place=path, made=True)
    if is_nested(config):
        options = {
            "executor": executor, "workers": workers, "device": device, "devices": devices, "threads": threads,
            "tracking_uri": tracking_uri, "ray_address": ray_address, "gpus_per_job": gpus_per_job,
            "populations": populations, "timeout": timeout, "extend": extend, "retry_failed": retry_failed,
            "start_from": start_from, "console": console,
        }  # fmt: skip
        return _run_parts(config, path, options)
    elsewhere = executor == "ray" and gpus_per_job and device == "auto"  # this machine may have no GPU of its own
    named = ("cuda",) if elsewhere and devices is None else resolve_devices(devices, device)
    if threads < 1 or (threads > cpu_count() and executor != "ray"):
        raise InvalidValueError(f"`--threads` must be from 1 to {cpu_count()}, the cores here", value=str(threads))
    plan = make_plan(config, place=place, device=named[0], threads=threads)
    plan = replace(plan, scratch=(path / ".cache" / "checkpoints").resolve())
    jobs = create_executor(
        executor, plan.data, workers=workers, folder=path / ".cache", device=plan.device, devices=named,
        threads=plan.threads, ranks=config.training.ranks, timeout=timeout, ray_address=ray_address,
        gpus_per_job=gpus_per_job,
    )  # fmt: skip
    with closing(jobs), Store(path) as opened:
        fingerprint = plan.fingerprint()
        opened.claim(fingerprint, extend=extend)
        added = _measure_added(opened)
        if retry_failed:
            _take_back_failures(opened)
        plan, told = started_from(plan, opened, start_from)
        if console is not None:
            console.print(_begun(plan), soft_wrap=True, markup=False)
            if added:
                console.print(MEASURED_AGAIN.format(listed=", ".join(added)), soft_wrap=True, markup=False)
            if executor != "ray" and (short := too_little_memory(plan, jobs.workers)):
                console.print(short, soft_wrap=True, markup=False)
        engine = settle_engine(executor, plan, opened, populations=populations)
        tracker = tracker_of(path, fingerprint, tracking_uri)
        try:
            keep_test_samples(path, plan.data)
            keep_contents(path, plan.data)
            keep_symbols(path, config.losses)
            notes = keep_data_notes(path, plan.data, [*scale_note(config, plan.data), *told])
            coordinator = Coordinator(plan, opened, jobs, [], populations=engine.populations, width=engine.width)
            if console is not None:
                noun = "worker" if jobs.workers == 1 else "workers"
                for line in (f"{jobs.workers} {noun}, {engine.why}", *(f"note: {note}" for note in notes)):
                    console.print(line, soft_wrap=True, markup=False)
            resumed = coordinator.resumed
            _catch_up(coordinator, tracker)
            try:
                _run(plan, coordinator, tracker, console or Console(quiet=True))
            finally:  # an interrupted study leaves a ranking of what is there
                write_tables(path, config.name, plan.objective, opened.records)
            suspects = keep_suspects(path, plan.data.dataset, opened.records)
            if suspects and console is not None:
                console.print(f"note: {suspects_sentence(suspects)}", soft_wrap=True, markup=False)
            if resumed and coordinator.changed:
                _catch_up(coordinator, tracker)  # what was selected before may not be now
            if coordinator.changed or not (path / "optuna.db").is_file():
                tracker.call(lambda: write_optuna(path, config, fingerprint["spaces"], opened.records))
        except BaseException:
            tracker.close(timeout=CLOSING_SECONDS)
            raise
        fault = tracker.close()
        trained, seconds = len(coordinator.done) - resumed, time.perf_counter() - started
        identity = study_fingerprint(fingerprint)
        return StudyOutcome(path, resumed, trained, seconds, fault, tracker.experiment_id, identity, plan.objective)


def _run_parts(config: StudyConfig, path: Path, options: Mapping[str, Any]) -> StudyOutcome:
    """Run each part of a nested study, and join their tables after each."""
    outcomes, console = [], options["console"]
    stores = part_stores(path, config)
    for number, store in enumerate(stores):
        if console is not None:
            console.print(f"outer fold {number + 1} of {len(stores)}", style="bold")
        outcomes.append(run_study(part_of(config, number), store, **options))
        join_parts(path, config)
    faults = [outcome.tracking_fault for outcome in outcomes if outcome.tracking_fault]
    return StudyOutcome(
        path, sum(outcome.resumed for outcome in outcomes), sum(outcome.trained for outcome in outcomes),
        sum(outcome.seconds for outcome in outcomes), faults[0] if faults else None,
        objective=config.search.objective,
    )  # fmt: skip


def _begun(plan: StudyPlan) -> str:
    """What is printed before anything is measured, so that nobody waits before an empty screen."""
    counts, dataset = plan.count(), plan.data.dataset
    return (
        f"{plan.config.name}: {len(dataset)} samples of {len(dataset.class_names)} classes, at most "
        f"{sum(counts.values())} trainings and baselines"
    )


def _measure_added(store: Store) -> list[str]:
    """Journal, once, that final trainings and baselines are run again for metrics that were added since; return those.

    They end with the numbers that they had, and the new ones.
    """
    added = {
        name for edit in store.edits if edit["key"] == "final.metrics" for name in set(edit["new"]) - set(edit["old"])
    }
    added -= {name for record in store.records if record["type"] == "retry" for name in record.get("metrics", ())}
    jobs = [r for r in store.records if r["type"] == "job" and r["kind"] != "trial" and r["status"] == "ok"]
    keys = [record["key"] for record in jobs if added - record["metrics"].keys()]
    if keys:
        store.append({"type": "retry", "keys": keys, "metrics": sorted(added)})
    return sorted(added) if keys else []


def _take_back_failures(store: Store) -> None:
    """Journal that every failed training is to be trained again."""
    keys = [r["key"] for r in store.records if r["type"] == "job" and r["status"] == "failed"]
    if keys:
        store.append({"type": "retry", "keys": keys})


def _catch_up(coordinator: Coordinator, tracker: Tracker) -> None:
    """Log what an earlier coordinator journaled but may not have logged."""
    store, plan = coordinator.store, coordinator.plan
    names = logged_names(plan.config.losses)
    tracker.log_missing(list(runs_of(store.records, len(plan.folds), plan.objective, store.path, names)))


def _run(plan: StudyPlan, coordinator: Coordinator, tracker: Tracker, console: Console) -> None:
    if coordinator.resumed:
        console.print(
            f"resuming {coordinator.store.path}: {coordinator.resumed} trainings are done and stay done", markup=False
        )
    better = higher_is_better(plan.objective)
    progress = ProgressObserver(console, Remaining(coordinator), coordinator.resumed, maximize=better)
    coordinator.observers += [progress, _Tracking(tracker, coordinator)]
    with progress:
        coordinator.run()
