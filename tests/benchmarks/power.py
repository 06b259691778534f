"""What classes, folds and seeds are worth: the parts of variance of differences between losses, in stored studies.

    python tests/benchmarks/power.py

One line for each stored study whose test classes are its own: the median over pairs of losses of each part's standard
deviation, and the smallest true difference that the study was likely to tell (80 % power at 5 %). The last line has the
medians over studies, which `mlcompare recommend` goes by.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np

from mlcompare.comparison import score_array, smallest_difference, variances_of
from mlcompare.comparison.stored import load_study, read_store

HERE = Path(__file__).resolve().parent
STORES, REPORT = HERE.parents[1] / "notebooks/results", HERE / "results/power.txt"
PARTS = ("class", "fold", "seed", "cell", "rest")


def parts_of(store: Path) -> tuple[np.ndarray, tuple[int, int, int]] | None:
    """Return the standard deviations ``(5,)`` and the numbers of classes, folds and seeds; None for other studies."""
    study = load_study(store)["study"]
    if study["protocol"]["kind"] != "class_disjoint" or study["search"]["objective"] != "map_at_r":
        return None
    results, per_class, _ = read_store(store)
    scores = score_array(results, per_class, "map_at_r", source="selected")
    families = results.dropna(subset=["loss"]).groupby("loss")["family"].first()
    losses = [name for name in families.index if families[name] != "baseline"]
    found = [variances_of(scores.of(a) - scores.of(b), scores.folds) for a, b in combinations(losses, 2)]
    folds = len(set(scores.folds.tolist()))
    return np.sqrt(np.nanmedian(found, axis=0)), (len(scores.classes), folds, len(scores.runs) // folds)


def lines() -> Iterator[str]:
    """Yield the report line by line."""
    yield f"{'':36}{'classes':>8}{'folds':>6}{'seeds':>6}" + "".join(f"{part:>8}" for part in PARTS) + f"{'told':>8}"
    every = []
    for store in sorted(STORES.iterdir()):
        found = parts_of(store) if (store / "per_class.parquet").is_file() else None
        if found:
            deviations, counts = found
            every.append(deviations)
            numbers = "".join(f"{value:8.3f}" for value in deviations)
            yield f"{store.name:36}{counts[0]:8}{counts[1]:6}{counts[2]:6}{numbers}{smallest_difference(*counts):8.3f}"
    yield f"{'median of ' + str(len(every)) + ' studies':56}" + "".join(f"{v:8.3f}" for v in np.median(every, axis=0))


def main() -> None:
    report = "\n".join(lines()) + "\n"
    REPORT.write_text(report, encoding="utf-8")
    print(report, end="")


if __name__ == "__main__":
    main()
