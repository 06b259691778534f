"""What learning curves add to the quickstart's trainings: processor time with `evaluations` 5 over that with 0.

One trial and one final training of each loss on each fold, the two kinds taking turns in one process, so that the ratio
hardly depends on what else the machine does. Baselines, MLflow and the report, which cost the same with and without,
are left out: of a whole study curves take less.

    python tests/benchmarks/curves.py
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import torch

from mlcompare.search.proposals import default_values
from mlcompare.study import StudyPlan, make_plan, read_study
from mlcompare.training import TrainingJob, train

QUICKSTART = Path(__file__).parent.parent.parent / "studies" / "quickstart.yaml"


def jobs(plan: StudyPlan) -> list[TrainingJob]:
    made = []
    for name, loss in plan.losses.items():
        values = default_values(loss.space)
        made += plan.trial_jobs(name, 0, values)
        made += [job for job in plan.final_jobs(name, 0, values) if job.seed == 0]
    return made


def seconds(job: TrainingJob, plan: StudyPlan, evaluations: int) -> float:
    job = replace(job, training=job.training.replaced(evaluations=evaluations))
    started = time.process_time()
    result = train(job, plan.data)
    assert result.status == "ok", result.reason
    return time.process_time() - started


def main() -> None:
    torch.set_num_threads(1)
    plan = make_plan(read_study(QUICKSTART))
    planned = jobs(plan)
    for job in planned[:2]:
        seconds(job, plan, 5)  # imports
    spent = {"trial": [0.0, 0.0], "final": [0.0, 0.0]}
    for number, job in enumerate(planned):
        for evaluations in (0, 5) if number % 2 else (5, 0):
            spent[job.kind][evaluations == 5] += seconds(job, plan, evaluations)
    count = plan.count()
    totals = [count["trial"] * spent["trial"][k] + count["final"] * spent["final"][k] for k in (0, 1)]
    for kind, (without, with_) in spent.items():
        print(f"{kind} trainings: {1000 * without / (len(planned) / 2):.0f} ms without, × {with_ / without:.3f} with")
    print(f"all of the study's trainings: × {totals[1] / totals[0]:.3f}")


if __name__ == "__main__":
    main()
