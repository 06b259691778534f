"""What racing saves, and how often it stops the setting that would have won: replayed on stored tables.

    python tests/benchmarks/racing.py            # replays the committed table, in half a minute
    python tests/benchmarks/racing.py --make runs/racing  # trains it again first, in a quarter of an hour on two cores

The table holds whole trainings of random settings with their learning curves. A replay goes through the settings of a
loss in random order, the paper's first, in rounds of two; what a race would not have trained is counted, by the
library's own rule. *Saved* is the share of training steps; *lost* how often the best setting of the table was stopped;
*regret* the mean share of the objective that the race's choice is below it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from mlcompare import load_results, run_study
from mlcompare.search.racing import Curve, Race, Scores, mean_curve

HERE = Path(__file__).resolve().parent
TABLE, REPORT = HERE / "results/racing.parquet", HERE / "results/racing.txt"
ORDERS, ROUND = 200, 2
LOSSES = ("contrastive", "trihard", "softmax", "cosface", "arcface")
RANDOM = {"trials": 20, "startup_trials": 20, "parallel": 4, "space": {"lr": {"low": 3e-4, "high": 1e-2, "log": True}}}
COMMON = {"search": RANDOM, "final": {"seeds": 1}, "baselines": "none", "losses": dict.fromkeys(LOSSES)}
SITUATIONS = {
    "faces": {
        "dataset": {"name": "orl_faces", "size": [28, 24]},
        "protocol": {"kind": "class_disjoint", "test_classes": 0.5, "folds": 4},
        "encoder": {"name": "conv", "embedding_dim": 64, "channels": [16, 32]},
        "training": {"steps": 50, "classes_per_batch": 8, "samples_per_class": 4, "schedule": "cosine"},
    },
    "glyphs": {
        "dataset": {"name": "glyphs", "classes": 200},
        "protocol": {"kind": "class_disjoint", "test_classes": 0.5, "folds": 3},
        "encoder": {"name": "conv", "embedding_dim": 64, "channels": [16, 32]},
        "training": {"steps": 100, "classes_per_batch": 12, "samples_per_class": 4, "schedule": "cosine"},
    },
    "digits": {
        "dataset": "digits",
        "protocol": {"kind": "closed_set", "folds": 4},
        "encoder": {"name": "mlp", "embedding_dim": 16},
        "training": {"steps": 60, "classes_per_batch": 8, "samples_per_class": 4, "schedule": "cosine"},
    },
}


def make(folder: Path) -> None:
    """Train every situation whole, and keep its curves and scores."""
    kept = []
    for name, study in SITUATIONS.items():
        run_study({"name": f"racing-{name}", **study, **COMMON}, folder / name)
        rows = load_results(folder / name)
        rows = rows[rows["kind"].isin(("trial", "curve")) & (rows["split"] == "validation") & rows["seed"].isna()]
        rows = rows[(rows["metric"] == "map_at_r") & (rows["status"] == "ok")]
        columns = ["loss", "kind", "trial", "fold", "step", "value"]
        kept.append(rows[columns].assign(situation=name, value=rows["value"].astype("float32")))
    pd.concat(kept).to_parquet(TABLE, index=False, compression="zstd")


class Trial(NamedTuple):
    """A setting: its objective by fold, and its curves."""

    scores: Scores
    curves: dict[int, Curve]

    @property
    def mean(self) -> float:
        return float(np.mean(list(self.scores.values())))


def trials_of(rows: pd.DataFrame) -> list[Trial]:
    """Return a loss's settings in the order of their numbers; those that failed on a fold are left out."""
    folds = rows["fold"].nunique()
    found = []
    for _, mine in rows.groupby("trial"):
        scores = mine[mine["kind"] == "trial"].set_index("fold")["value"].to_dict()
        curves = {
            fold: dict(zip(points["step"], points["value"]))
            for fold, points in mine[mine["kind"] == "curve"].groupby("fold")
        }
        if len(scores) == folds:
            found.append(Trial(scores, curves))
    return found


def trained_folds(trial: Trial, race: Race) -> tuple[int, bool]:
    """Return how many steps of a setting a race over folds trains, and whether it is stopped."""
    spent, seen = 0, {}
    for fold, score in trial.scores.items():
        spent, seen[fold] = spent + max(trial.curves[fold]), score
        if len(seen) < len(trial.scores) and race.behind(seen):
            return spent, True
    return spent, False


def trained_steps(trial: Trial, race: Race) -> tuple[int, bool]:
    """Return how many steps of a setting a race along the steps trains, and whether it is stopped."""
    curve = mean_curve(trial.curves)
    stop = next((step for step, value in race.least if curve[step] < value), None)
    return len(trial.curves) * (stop or max(curve)), stop is not None


def replay(trials: list[Trial], order: np.ndarray, trained: Callable, early: bool) -> tuple[float, bool, float]:
    """Return the share of steps saved, whether the best was stopped, and the regret of what was chosen."""
    whole, spent = [], 0
    for first in range(0, len(order), ROUND):
        race, standing = Race(whole, early=early), []
        for number in order[first : first + ROUND]:
            steps, stopped = trained(trials[number], race)
            spent += steps
            standing += [] if stopped else [trials[number]]
        whole += standing
    everything = sum(max(curve) for trial in trials for curve in trial.curves.values())
    best, chosen = max(trials, key=lambda t: t.mean), max(whole, key=lambda t: t.mean)
    return 1 - spent / everything, all(trial is not best for trial in whole), 1 - chosen.mean / best.mean


def lines(table: pd.DataFrame) -> Iterator[str]:
    """Yield the report line by line."""
    yield f"{'':9}{'race over':12}{'saved':>8}{'lost':>8}{'regret':>9}"
    modes = {"early": trained_folds, "folds": trained_folds, "steps": trained_steps}
    for situation, rows in table.groupby("situation", sort=False):
        for mode, trained in modes.items():
            rng = np.random.default_rng(0)
            found = []
            for _, mine in rows.groupby("loss", sort=False):
                trials = trials_of(mine)
                for _ in range(ORDERS):
                    order = np.concatenate([[0], 1 + rng.permutation(len(trials) - 1)])
                    found.append(replay(trials, order, trained, mode == "early"))
            saved, lost, regret = np.mean(np.array(found, dtype=float), axis=0)
            yield f"{situation:9}{mode:12}{saved:8.1%}{lost:8.1%}{regret:9.2%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--make", type=Path, metavar="FOLDER", help="train the table again, with stores in FOLDER")
    options = parser.parse_args()
    if options.make:
        make(options.make)
    report = "\n".join(lines(pd.read_parquet(TABLE))) + "\n"
    REPORT.write_text(report, encoding="utf-8")
    print(report, end="")


if __name__ == "__main__":
    main()
