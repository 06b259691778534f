"""What to try next, from what a study found: longer trainings, wider ranges, more trials, fewer losses, more runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from mlcompare.comparison.compare import Comparison
from mlcompare.comparison.search_luck import within_luck
from mlcompare.comparison.trials import best_so_far
from mlcompare.metrics import higher_is_better

__all__ = ["next_steps"]

LATE = 2 / 3  # of the trials: a best found after it says that more trials may find a better one
WORTH = 0.005  # a gain of the last third of the trials that is worth having more of, as a share of the score


def next_steps(comparison: Comparison, results: pd.DataFrame, objective: str) -> list[str]:
    """Return advice in words, the most telling first; nothing where there is none.

    Args:
        comparison: what :func:`compare` says of the study.
        results: its results table; ``objective`` is what its search went by.
    """
    rows = [row for row in comparison.records() if row["family"] != "baseline" and row["mean"] is not None]
    lucky = list(within_luck(rows, comparison.best, comparison.confidence))
    return [
        *_longer(rows),
        *_shorter(rows),
        *_wider(rows),
        *_more_trials(results, objective),
        *_less_luck(lucky),
        *_fewer(rows, lucky),
        *_more_runs(comparison),
    ]


def _longer(rows: list[dict[str, Any]]) -> Iterator[str]:
    rising = [row["loss"] for row in rows if row.get("still_rising")]
    if rising:
        yield (
            f"More steps: {', '.join(rising)} {'was' if len(rising) == 1 else 'were'} still rising when training "
            "stopped; twice training.steps in a store of its own shows what they come to."
        )


def _shorter(rows: list[dict[str, Any]]) -> Iterator[str]:
    fell = [f"{row['loss']} (best at step {row['past_best']['best_step']})" for row in rows if row.get("past_best")]
    if fell:
        yield f"An earlier step: {', '.join(fell)} fell before training stopped; try training.select: best."


def _wider(rows: list[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        for name, wider in (row["suggested_ranges"] or {}).items():
            log = ", log: true" if wider["log"] else ""
            at = row["hyperparameters"][name]
            yield (
                f"A wider range: {row['loss']} chose {name} = {at:.3g} on the bound; try "
                f"{name}: {{low: {wider['low']:g}, high: {wider['high']:g}{log}}}."
            )


def _more_trials(results: pd.DataFrame, objective: str) -> Iterator[str]:
    if not (results["kind"] == "trial").any():
        return
    found, sign = [], 1 if higher_is_better(objective) else -1
    for loss, curve in best_so_far(results, objective).groupby("loss", sort=False):
        best = sign * curve["best"].to_numpy()
        before = best[max(0, int(len(best) * LATE) - 1)]
        if len(best) > 2 and best[-1] - before > WORTH * abs(best[-1]):
            found.append(f"{loss} ({sign * before:.3f} → {sign * best[-1]:.3f})")
    if found:
        yield f"More trials: the last third still found better settings for {', '.join(found)}; add some with --extend."


def _less_luck(lucky: list[str]) -> Iterator[str]:
    if lucky:
        yield (
            f"Another search: the lead over {', '.join(lucky)} is within what one may change; more trials (--extend), "
            "or search.seed: 1 in a store of its own, show whether it stays."
        )


def _fewer(rows: list[dict[str, Any]], lucky: list[str]) -> Iterator[str]:
    behind = [
        row["loss"]
        for row in rows
        if row["indistinguishable_from_best"] is False
        and row["loss"] not in lucky
        and not row["at_bound"]
        and not (row.get("still_rising") or row.get("past_best"))
    ]
    if behind and len(behind) < len(rows) - 1:
        told = "is told apart" if len(behind) == 1 else "are told apart"
        yield f"Fewer losses: {', '.join(behind)} {told} from the best, and done."


def _more_runs(comparison: Comparison) -> Iterator[str]:
    for loss, separation in list(comparison.separation.items())[:1]:
        yield f"To tell {comparison.best} from {loss}: {separation.sentence[:1].lower()}{separation.sentence[1:]}"
