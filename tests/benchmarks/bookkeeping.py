"""What MLflow and Optuna add to a study's time, at trials of 4 seconds and of 1 second.

The same study twice in one run, its trainings replaced by pauses of known length: with its trackers, and without. The
processor time of asking Optuna and of writing both databases is printed too: it is what a busy machine pays. A study
before them leaves the databases' templates in the user's cache folder, as the first study on a machine does.

    python tests/benchmarks/bookkeeping.py
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from mlcompare.execution import executors
from mlcompare.study import coordinator, run_study, runner
from mlcompare.training import TrainingResult

FOLDS, TRIALS = 4, 15
STUDY = {
    "name": "bookkeeping",
    "dataset": "digits",
    "protocol": {"test_classes": 0.2, "folds": FOLDS},
    "encoder": {"name": "linear"},
    "training": {"steps": 100, "classes_per_batch": 2},
    "search": {"trials": TRIALS, "parallel": 2},
    "final": {"seeds": 1},
    "losses": {"cosface": None},
}
BASELINES = 0.01  # seconds of a baseline


class NoTracker:
    """A tracker that writes nothing."""

    experiment_id = None
    seconds = 0.0

    def __init__(self, *_arguments: object, **_options: object) -> None: ...

    def log(self, _run: object) -> None: ...

    def call(self, _action: object) -> None: ...

    def close(self) -> None: ...


def pausing(seconds: float):
    """Return a stand-in for trainings: a pause, then plausible results with a history."""

    def run_bundle(bundle, _data):
        time.sleep(sum(BASELINES if job.kind == "baseline" else seconds for job in bundle))
        rng = np.random.default_rng(len(bundle[0].key))
        return [
            TrainingResult(
                job.key, metrics={name: float(rng.random()) for name in job.metrics},
                history={"step": [25, 50, 75, 100], "loss": [4.0, 3.0, 2.0, 1.0]}, seconds=seconds,
            )
            for job in bundle
        ]  # fmt: skip

    return run_bundle


def study_seconds(pause: float, folder: Path, tracker: type) -> tuple[float, float, float]:
    """Return the wall-clock of a study, and the processor seconds of its views and of asking Optuna."""
    asking, propose, kept = [0.0], coordinator.propose, []

    def timed_propose(*arguments, **options):
        started = time.thread_time()
        found = propose(*arguments, **options)
        asking[0] += time.thread_time() - started
        return found

    def made(*arguments, **options):
        kept.append(tracker(*arguments, **options))
        return kept[-1]

    originals = executors.run_bundle, runner.Tracker, coordinator.propose
    executors.run_bundle, runner.Tracker, coordinator.propose = pausing(pause), made, timed_propose
    try:
        started = time.perf_counter()
        run_study(STUDY, folder, executor="in-process")
        return time.perf_counter() - started, kept[0].seconds, asking[0]
    finally:
        executors.run_bundle, runner.Tracker, coordinator.propose = originals


def main() -> None:
    real = runner.Tracker
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        study_seconds(0.0, folder / "warm", real)
        for trial_seconds in (4.0, 1.0):
            pause = trial_seconds / FOLDS
            without, _, _ = study_seconds(pause, folder / f"without{trial_seconds}", NoTracker)
            whole, views, asking = study_seconds(pause, folder / f"with{trial_seconds}", real)
            share = (whole - without + asking) / whole
            print(
                f"{trial_seconds:g}-second trials: {whole:.1f} s with MLflow and Optuna, {without:.1f} s without: "
                f"bookkeeping {share:.1%} (processor: databases {views:.2f} s, asking Optuna {asking:.2f} s)",
                flush=True,
            )


if __name__ == "__main__":
    main()
