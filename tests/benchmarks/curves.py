"""What learning curves add to a study's time: the quickstart with `evaluations` 0 and 5, taking turns in one run.

python tests/benchmarks/curves.py [--rounds 3]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from mlcompare.study import read_study, run_study
from mlcompare.study.config import validated

QUICKSTART = Path(__file__).parent.parent.parent / "studies" / "quickstart.yaml"


def seconds(evaluations: int) -> tuple[float, float]:
    """Return the seconds of a whole study, and of its trainings alone."""
    study = read_study(QUICKSTART).model_dump()
    study["training"]["evaluations"] = evaluations
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        run_study(validated(study, "quickstart"), folder, populations=False)
        whole = time.perf_counter() - started
        from mlcompare.comparison import load_results

        rows = load_results(folder)
        rows = rows[rows["kind"].isin(["trial", "final"])]
        return whole, float(rows.drop_duplicates(["kind", "loss", "trial", "fold", "seed"])["seconds"].sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    seconds(0)  # files and imports
    pairs = [(seconds(0), seconds(5)) for _ in range(rounds)]
    for what, place in (("the whole study", 0), ("its trainings", 1)):
        ratios = sorted(with_[place] / without[place] for without, with_ in pairs)
        typical = statistics.median(without[place] for without, _ in pairs)
        print(f"{what}: {typical:.0f} s without curves, with five points × {statistics.median(ratios):.3f} ({ratios})")


if __name__ == "__main__":
    main()
