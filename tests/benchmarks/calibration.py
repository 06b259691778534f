"""How often 95 % intervals cover and 5 % tests reject, over the designs that studies have.

Scores are drawn from the model of ``tests/comparison/simulate.py`` (classes × folds crossed, seeds nested in folds, a
true mean of 0) and analysed as every comparison is. The designs: 2 to 5 folds, 1 to 5 seeds, 10 to 200 classes, a
fold's share of 0 to 1 in the variance between runs, and that variance from a trifle to nearly all of it; some with
skewed classes. The last column counts every run as a fold of its own. About ten minutes on one core.

    python tests/benchmarks/calibration.py            # writes results/calibration.csv and prints a summary
    python tests/benchmarks/calibration.py --nested   # results/calibration_nested.csv: each class sealed once
"""

from __future__ import annotations

import itertools
import sys
import zlib
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[2]))

from mlcompare.comparison import means
from tests.comparison.simulate import nested, nested_study

OUT = Path(__file__).parent / "results" / "calibration.csv"
REPETITIONS = 2000
FOLDS, SEEDS, CLASSES, SHARES = (2, 3, 4, 5), (1, 2, 5), (10, 20, 50, 200), (0.0, 0.3, 0.7, 1.0)
RUNS = (0.01, 0.03, 0.1)  # standard deviation of a run; of a class .05, a class in a fold .03, a class in a run .06
NESTED, NESTED_REPETITIONS = ["parts", "classes", "seeds", "fold_share", "run", "search"], 1000
DESIGN = ["classes", "folds", "seeds", "fold_share", "run", "skewed"]


def measure(classes: int, folds: int, seeds: int, share: float, run: float, skewed: bool) -> dict[str, float]:
    """Coverage of the 95 % interval, rejection of the 5 % test, and the coverage with every run as a fold."""
    design = classes, folds, seeds, share, run, skewed
    rng = np.random.default_rng(zlib.crc32(repr(design).encode()))
    scores, labels = nested(rng, REPETITIONS, classes, folds, seeds, run=run, fold_share=share, skewed=skewed)
    found, naive = means(list(scores), labels), means(list(scores), range(folds * seeds))
    low, high = found.intervals(0.95)
    width = float((high - low).mean())
    p_values = found.p_values()
    low_naive, high_naive = naive.intervals(0.95)
    return {
        **dict(zip(DESIGN, design)),
        "coverage": float(((low <= 0) & (high >= 0)).mean()),
        "rejection": float((p_values <= 0.05).mean()),
        "rejection_at_1_percent": float((p_values <= 0.01).mean()),
        "width": width,
        "runs_as_independent": float(((low_naive <= 0) & (high_naive >= 0)).mean()),
    }


def measure_nested(parts: int, classes: int, seeds: int, share: float, run: float, search: float) -> dict[str, float]:
    """The same of a nested study with three folds in each part; ``search`` is what is common to a part."""
    design = parts, classes, seeds, share, run, search
    rng = np.random.default_rng(zlib.crc32(repr(design).encode()))
    layout = {"run": run, "fold_share": share, "search": search}
    scores, labels = nested_study(rng, NESTED_REPETITIONS, classes, parts, 3, seeds, **layout)
    found = means(list(scores), labels)
    low, high = found.intervals(0.95)
    return {
        **dict(zip(NESTED, design)),
        "coverage": float(((low <= 0) & (high >= 0)).mean()),
        "rejection": float((found.p_values() <= 0.05).mean()),
    }


def nested_table() -> None:
    """Measure the nested designs, write their table and print a summary."""
    designs = itertools.product((2, 3, 5), (20, 40, 100), (1, 2), (0.0, 0.7, 1.0), RUNS, (0.0, 0.02, 0.05))
    table = pd.DataFrame([measure_nested(*design) for design in designs])
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
    table = pd.DataFrame([measure(*design) for design in designs])
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


if __name__ == "__main__":
    main()
