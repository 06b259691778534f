"""How often 95 % intervals cover and 5 % tests reject, over the designs that studies have.

Scores are drawn from the model of ``tests/comparison/simulate.py`` (classes × folds crossed, seeds nested in folds, a
true mean of 0) and analysed as every comparison is. The designs: 2 to 5 folds, 1 to 5 seeds, 10 to 200 classes, a
fold's share of 0 to 1 in the variance between runs, and that variance from a trifle to nearly all of it; some with
skewed classes. ``by_seeds`` is the share of studies in which the seeds within the folds set the length of the
interval, ``by_folds_there`` and ``coverage_there`` how often the folds' own interval and the one given cover in those
alone. The last column counts every run as a fold of its own. Some twenty minutes on two cores.

    python tests/benchmarks/calibration.py            # writes results/calibration.csv and prints a summary
    python tests/benchmarks/calibration.py --nested   # results/calibration_nested.csv: each class sealed once
"""

from __future__ import annotations

import itertools
import math
import sys
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[2]))

from mlcompare.comparison import means
from tests.comparison.simulate import nested, nested_study

OUT = Path(__file__).parent / "results" / "calibration.csv"
REPETITIONS = 1000
FOLDS, SEEDS, CLASSES, SHARES = (2, 3, 4, 5), (1, 2, 5), (10, 20, 50, 200), (0.0, 0.3, 0.7, 1.0)
RUNS = (0.01, 0.03, 0.1)  # standard deviation of a run; of a class .05, a class in a fold .03, a class in a run .06
NESTED, NESTED_REPETITIONS = ["parts", "classes", "seeds", "fold_share", "run", "search"], 500
DESIGN = ["classes", "folds", "seeds", "fold_share", "run", "skewed"]


def measure(classes: int, folds: int, seeds: int, share: float, run: float, skewed: bool) -> dict[str, float]:
    """Coverage of the 95 % interval, rejection of the 5 % test, and the coverage with every run as a fold."""
    design = classes, folds, seeds, share, run, skewed
    rng = np.random.default_rng(zlib.crc32(repr(design).encode()))
    scores, labels = nested(rng, REPETITIONS, classes, folds, seeds, run=run, fold_share=share, skewed=skewed)
    found, naive = means(list(scores), labels), means(list(scores), range(folds * seeds))
    reach, by_folds, size = found.reach(0.05), found.between_folds.reach(0.05), np.abs(found.mean)
    there, covered = reach > by_folds, size <= reach  # a test at a level rejects where its interval doesn't cover
    return {
        **dict(zip(DESIGN, design)),
        "coverage": float(covered.mean()),
        "rejection": float((~covered).mean()),
        "rejection_at_1_percent": float((size > found.reach(0.01)).mean()),
        "width": float(2 * reach.mean()),
        "longer_by_seeds": float(reach.mean() / by_folds.mean()),
        "by_seeds": float(there.mean()),
        "by_folds_there": float((size <= by_folds)[there].mean()) if there.any() else math.nan,
        "coverage_there": float(covered[there].mean()) if there.any() else math.nan,
        "runs_as_independent": float((size <= naive.reach(0.05)).mean()),
    }


def measure_nested(parts: int, classes: int, seeds: int, share: float, run: float, search: float) -> dict[str, float]:
    """The same of a nested study with three folds in each part; ``search`` is what is common to a part."""
    design = parts, classes, seeds, share, run, search
    rng = np.random.default_rng(zlib.crc32(repr(design).encode()))
    layout = {"run": run, "fold_share": share, "search": search}
    scores, labels = nested_study(rng, NESTED_REPETITIONS, classes, parts, 3, seeds, **layout)
    found = means(list(scores), labels)
    covered = float((np.abs(found.mean) <= found.reach(0.05)).mean())
    return {**dict(zip(NESTED, design)), "coverage": covered, "rejection": 1.0 - covered}


def measured(measure: Callable[..., dict[str, float]], designs: Iterable[tuple]) -> pd.DataFrame:
    """Return a row for each design, measured on all cores."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as workers:
        return pd.DataFrame(workers.map(measure, *zip(*designs)))


def nested_table() -> None:
    """Measure the nested designs, write their table and print a summary."""
    designs = itertools.product((2, 3, 5), (20, 40, 100), (1, 2), (0.0, 0.7, 1.0), RUNS, (0.0, 0.02, 0.05))
    table = measured(measure_nested, designs)
    table.round(4).to_csv(OUT.with_name("calibration_nested.csv"), index=False)
    print(f"{len(table)} nested designs, {NESTED_REPETITIONS} studies each")
    summary = table.groupby(["parts", "search"])[["coverage", "rejection"]].agg(["min", "mean", "max"])
    print(summary.round(3).to_string())


def main() -> None:
    if "--nested" in sys.argv[1:]:
        nested_table()
        return
    designs = [*itertools.product(CLASSES, FOLDS, SEEDS, SHARES, RUNS, [False])]
    designs += [*itertools.product((10, 20, 50), FOLDS, (2,), (0.7,), (0.01, 0.03), [True])]
    table = measured(measure, designs)
    table.round(4).to_csv(OUT, index=False)
    error = np.sqrt(0.95 * 0.05 / REPETITIONS)
    print(f"{len(table)} designs, {REPETITIONS} studies each (standard error of a coverage {error:.4f})")
    summary = table.groupby(["skewed", "folds"]).agg(
        least=("coverage", "min"), mean=("coverage", "mean"), most=("coverage", "max"),
        rejected_least=("rejection", "min"), rejected_most=("rejection", "max"),
        at_1_percent_most=("rejection_at_1_percent", "max"),
        runs_as_independent_least=("runs_as_independent", "min"),
    )  # fmt: skip
    print(summary.round(3).to_string())
    print("\nWhere the seeds within the folds set the length of the interval:")
    seeded = table[(table["seeds"] > 1) & ~table["skewed"]].groupby(["folds", "fold_share"])
    columns = ["coverage", "longer_by_seeds", "by_seeds", "by_folds_there", "coverage_there"]
    print(seeded[columns].mean().round(3).to_string())


if __name__ == "__main__":
    main()
