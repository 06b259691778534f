"""Run the challenges of a store, each as a small study of its own below it, and keep what came of them."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlcompare.challenge.judge import Outcome, judge, summary
from mlcompare.challenge.leaders import Leaders, difference_between, find_leaders
from mlcompare.challenge.variants import Variant, variants
from mlcompare.comparison import compare, learning_curves, load_results
from mlcompare.errors import InvalidValueError, MLCompareError
from mlcompare.files import check_folder, write_atomically
from mlcompare.study import run_study
from mlcompare.study.config import validated
from mlcompare.tracking.comparison_run import CHALLENGES

__all__ = ["challenge_store"]


def challenge_store(
    store: str | Path, *, minutes: float | None = None, executor: str = "auto", workers: int | None = None,
    device: str = "auto", told: Callable[[Outcome], None] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Train the leaders of a finished study again under other conditions, and say whether its verdict stands.

    Each challenge is a study in ``<store>/challenges/<name>``: journaled, and resumed by the same call. What came of
    them stands in ``<store>/challenges.json`` after each, and is returned.

    Args:
        minutes: the time for all of them; those that would take longer than what is left are not run. Without it all
            are.
        told: called with each outcome as it comes.

    Raises:
        InvalidValueError: ``minutes`` is not above 0.
        StoreError: the store has fewer than two losses with results, or can't be written.
    """
    if minutes is not None and not minutes > 0:
        raise InvalidValueError("`--minutes` must be above 0", value=f"{minutes:g}")
    store = Path(store).expanduser()
    leaders = find_leaders(store, compare(store))
    cure = "copy it to where it can be written, and challenge the copy"
    check_folder(store, "challenges are kept in the store", cure=cure, place=store)
    started, pace = time.monotonic(), 1.0  # wall seconds for each second of training, as measured last
    outcomes: list[Outcome] = []
    for variant in variants(leaders):
        alone = variant.cost * leaders.seconds * (1 + 1 / leaders.config.final.seeds)  # finals and one trial
        left = math.inf if minutes is None else 60 * minutes - (time.monotonic() - started)
        folder = store / "challenges" / variant.name
        if pace * alone > left and not folder.exists():
            outcome = Outcome(variant.name, variant.what, "not run", minutes=round(pace * alone / 60, 2))
        else:
            outcome, seconds = _run(variant, folder, leaders, executor=executor, workers=workers, device=device)
            pace = seconds / alone if seconds else pace
        outcomes.append(outcome)
        if told is not None:
            told(outcome)
        text = json.dumps(_kept(leaders, outcomes), ensure_ascii=False, indent=1, allow_nan=False)
        write_atomically(store / CHALLENGES, text.encode())
    return _kept(leaders, outcomes)


def _run(variant: Variant, folder: Path, leaders: Leaders, **where: Any) -> tuple[Outcome, float]:
    """Run one challenge, or finish it; return its outcome, and the seconds it took if all of it was trained now."""
    try:
        done = run_study(validated(variant.study, variant.name), folder, **where)
        comparison = compare(folder)
        found = difference_between(folder, *leaders.names)
    except MLCompareError as error:  # too few classes for such a batch, say
        return Outcome(variant.name, variant.what, "failed", reason=str(error)), 0.0
    rows = {row["loss"]: row for row in comparison.records()}
    means = tuple(rows[name]["mean"] if name in rows else None for name in leaders.names)
    verdict = judge(leaders.original, found)
    reason = None if verdict != "failed" else next((r["reason"] for r in rows.values() if r["reason"]), "no result")
    curves = learning_curves(load_results(folder))
    outcome = Outcome(
        variant.name, variant.what, verdict, _number(found.difference), _number(found.ci_low), _number(found.ci_high),
        _number(found.p_value), (means[0], means[1]),
        still_rising=tuple(name for name in leaders.names if name in curves and curves[name].still_rising),
        minutes=round(sum(row["seconds"] or 0.0 for row in rows.values()) / 60, 2), reason=reason,
    )  # fmt: skip
    return outcome, done.seconds if done.trained and not done.resumed else 0.0


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _kept(leaders: Leaders, outcomes: list[Outcome]) -> dict[str, Any]:
    original = {key: _number(value) for key, value in asdict(leaders.original).items()}
    return {
        "leaders": list(leaders.names),
        "original": original,
        "summary": summary(outcomes, leaders.names, leaders.original),
        "challenges": [outcome.record() for outcome in outcomes],
    }
