"""Jobs a second through each executor, with jobs of about 0.1 seconds; and how fast a large store resumes.

Every executor gets the same jobs: a linear encoder on scikit-learn's digits, as many steps as fill a tenth of a second
here. The rate an executor could reach at best is its workers divided by the seconds of a job alone.

    python tests/benchmarks/executors.py
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np

from mlcompare.execution import executors, process_executor
from mlcompare.execution.ray_executor import RayExecutor
from mlcompare.search.proposals import default_values
from mlcompare.study import make_plan, run_study
from mlcompare.study.config import validated
from mlcompare.training import TrainingResult, train

JOBS = 60
STUDY = {
    "name": "executors",
    "dataset": "digits",
    "protocol": {"test_classes": 0.4, "folds": 2},
    "encoder": {"name": "linear"},
    "training": {"steps": 1, "classes_per_batch": 3},
    "search": {"trials": 500, "parallel": 50},
    "final": {"seeds": 1},
    "losses": {"cosface": None, "contrastive": None},
}


def plan_of(steps: int):
    return make_plan(validated({**STUDY, "training": {**STUDY["training"], "steps": steps}}, "benchmark"))


def tenth_of_a_second() -> tuple[int, float]:
    """Return how many steps take a tenth of a second here, and the seconds that such a job then takes."""

    def seconds(steps: int) -> float:
        plan = plan_of(steps)
        job = plan.trial_jobs("cosface", 0, default_values(plan.losses["cosface"].space))[0]
        return min(train(job, plan.data).seconds for _ in range(3))

    short, long = seconds(10), seconds(110)
    steps = max(10, int(10 + (0.1 - short) / (long - short) * 100))
    return steps, seconds(steps)


def rate(executor, plan) -> float:
    """Jobs a second, after a first round of jobs that pays for what is paid once."""
    values = default_values(plan.losses["cosface"].space)
    waiting = [(job,) for trial in range(JOBS) for job in plan.trial_jobs("cosface", trial, values)][: JOBS + 4]
    done, started = 0, 0.0
    while waiting or executor.active:
        while waiting and executor.active < executor.workers:
            executor.submit(waiting.pop())
        done += len(executor.wait())
        started = started if done > 4 else time.perf_counter()
    return (done - 4) / (time.perf_counter() - started)


def resume_seconds(folder: Path) -> tuple[int, float]:
    """Fill a store with a thousand trials that train nothing; return the trials and the seconds of running it again."""

    def nothing(bundle, _data):
        rng = np.random.default_rng(abs(hash(bundle[0].key)) % 2**32)
        return [TrainingResult(job.key, metrics={m: float(rng.random()) for m in job.metrics}) for job in bundle]

    original, executors.run_bundle = executors.run_bundle, nothing
    try:
        run_study(STUDY, folder, executor="in-process")
        started = time.perf_counter()
        outcome = run_study(STUDY, folder, executor="in-process")
        assert outcome.trained == 0
        return STUDY["search"]["trials"] * len(STUDY["losses"]), time.perf_counter() - started
    finally:
        executors.run_bundle = original


def main() -> None:
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    cores = len(os.sched_getaffinity(0))
    steps, alone = tenth_of_a_second()
    plan = plan_of(steps)
    print(f"{cores} cores; a job of {steps} steps takes {alone:.3f} s alone: {1 / alone:.1f} a second for each worker")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for executor in (
            executors.InProcessExecutor(plan.data),
            process_executor.ProcessExecutor(plan.data, workers=cores, folder=folder / "data"),
            RayExecutor(plan.data, workers=cores),
        ):
            found = rate(executor, plan)
            executor.close()
            best = f"{found * alone / executor.workers:.0%} of the best"
            print(f"{executor.name:12s} {executor.workers} at a time: {found:5.1f} jobs a second ({best})")
        trials, seconds = resume_seconds(folder / "store")
        print(f"a store of {trials} trials resumes in {seconds:.1f} s")


if __name__ == "__main__":
    main()
