"""Whether intervals for the luck of a search hold what another search finds, on the tables of `search_table.py`.

    python tests/benchmarks/search_luck.py

Two searches of one loss in one situation see two of the four folds each. What both select is scored on all four, and
the difference is held against `luck_margin`, which knows of each search only its own trials. The last line says between
which shares the intervals of nominal 95 % held, over strategies and numbers of trials.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import search

from mlcompare.comparison.search_luck import STRETCH, luck_margin, search_luck

REPORT = Path(__file__).resolve().parent / "results/search_luck.txt"
TRIALS, REPEATS = (6, 12, 20), 3
STRATEGIES = {
    "random": (search.at_random,),
    "published, then TPE": (search.known, search.tpe),
    "transfer (search.start: priors)": (search.transferred,),
    "published, then TPE, early race": (search.known, search.tpe),
    "transfer, early race": (search.transferred,),
}
HALVES = [(half, tuple(set(range(4)) - set(half))) for half in combinations(range(4), 2)][:3]


class Fixed(search.Replay):
    """A search of a given number of trials."""

    trials = 0

    @property
    def over(self) -> bool:
        return len(self.tried) >= self.trials


def searched(table: search.Table, folds: tuple[int, int], name: str, trials: int, repeat: int) -> tuple[float, float]:
    """Search on two folds; return what the selected setting scores on all four, and the luck that is told."""
    half = replace(table, curves=table.curves[:, list(folds)])
    text = f"{table.situation}{table.loss}{name}{folds}"
    rng = np.random.default_rng([repeat, trials, zlib.crc32(text.encode())])
    replay = Fixed(half, rng, search.race_of(name))
    replay.trials, search.BUDGET, search.FOLDS = trials, trials, 2
    for part in STRATEGIES[name]:
        part(replay)
    selected = replay.whole[int(half.mean[replay.whole].argmax())]
    return float(table.mean[selected]), search_luck(half.mean[replay.whole], len(replay.tried)) or 0.0


def compared(key: tuple[str, str]) -> list[dict]:
    """Return the differences between pairs of searches of one table, each with its margins."""
    table, found = search.tables()[key], []
    for name in STRATEGIES:
        for trials in TRIALS:
            for repeat in range(1 if name.startswith("transfer") else REPEATS):  # there, nothing is random
                for halves in HALVES:
                    (a, luck_a), (b, luck_b) = (searched(table, half, name, trials, repeat) for half in halves)
                    margin = luck_margin(luck_a, luck_b) or 0.0
                    found.append({"strategy": name, "trials": trials, "apart": abs(a - b), "margin": margin})
    return found


def lines(found: pd.DataFrame) -> Iterator[str]:
    """Yield the report line by line."""
    yield f"{'':37}{'trials':>7}{'apart (rms)':>13}{'held':>8}{'held, not stretched':>21}"
    held = []
    for (name, trials), mine in found.groupby(["strategy", "trials"], sort=False):
        apart, margin = mine["apart"].to_numpy(), mine["margin"].to_numpy()
        inside, plain = (apart <= margin).mean(), (apart <= margin / STRETCH).mean()
        held.append(inside)
        yield f"{name:37}{trials:7}{np.sqrt((apart**2).mean()):13.4f}{inside:8.3f}{plain:21.3f}"
    yield f"{len(found)} pairs of searches; intervals of 95 % held {min(held):.2f} to {max(held):.2f}"


def main() -> None:
    with ProcessPoolExecutor(2) as pool:
        found = [row for rows in pool.map(compared, search.tables()) for row in rows]
    told = list(lines(pd.DataFrame(found)))
    print("\n".join(told))
    REPORT.write_text("\n".join(told) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
