"""What a ranking says in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mlcompare.metrics import higher_is_better

if TYPE_CHECKING:
    from mlcompare.comparison.compare import Comparison

__all__ = ["leader_sentence", "left_out_sentences", "listed"]

MOST_NAMED = 4


def listed(names: Sequence[str]) -> str:
    """Join names as a sentence does.

    >>> listed(["a"]), listed(["a", "b", "c"]), listed(list("abcdefg"))
    ('a', 'a, b and c', 'a, b, c and 4 more')
    """
    names = list(names)
    if len(names) > MOST_NAMED:
        names = [*names[: MOST_NAMED - 1], f"{len(names) - MOST_NAMED + 1} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def left_out_sentences(rows: Sequence[Mapping], sign: float) -> list[str]:
    """Name the losses that failed, in whole or in part, and the baselines that no loss reaches."""
    losses = [row for row in rows if row["family"] != "baseline"]
    found = []
    missing: dict[str, list[str]] = {}  # reason → losses
    for row in losses:
        if row["mean"] is None:
            missing.setdefault(row["reason"] or "no score", []).append(row["loss"])
    if missing:
        told = (f"{', '.join(names)} ({reason})" for reason, names in missing.items())
        found.append(f"Without a score, so not compared: {'; '.join(told)}.")
    partly = [f"{row['failed_runs']} of {row['runs'] + row['failed_runs']} final runs of {row['loss']}"
              for row in losses if row["mean"] is not None and row["failed_runs"]]  # fmt: skip
    if partly:
        found.append(f"Failed: {', '.join(partly)}.")
    top = max((sign * row["mean"] for row in losses if row["mean"] is not None), default=None)
    better = [row["loss"] for row in rows if row["family"] == "baseline" and row["mean"] is not None
              and top is not None and sign * row["mean"] > top]  # fmt: skip
    if better:
        which = "a baseline" if len(better) == 1 else "the baselines"
        found.append(f"No loss scores as high as {which}: {listed(better)}.")
    return found


def leader_sentence(comparison: Comparison) -> str:
    """Name the best loss, how sure its mean is, and how many others can't be told from it.

    Where there is no answer about families, what was left out is named here.
    """
    rows = comparison.records()
    losses = [row for row in rows if row["family"] != "baseline"]
    best = next((row for row in losses if row["loss"] == comparison.best), None)
    if best is None:
        failed = next((row["reason"] for row in rows if row["reason"]), None)
        return f"No loss has a score on the sealed test classes yet{f' ({failed})' if failed else ''}."
    others = [row for row in losses if row["loss"] != comparison.best and row["mean"] is not None]
    ties = [row["loss"] for row in others if row["mean"] == best["mean"]]
    top = f"losses are {listed([best['loss'], *ties])}" if ties else f"loss is {best['loss']}"
    sentence = f"The best tuned {top}: {comparison.metric} {best['mean']:.3f}"
    if best["ci_low"] is not None:
        spread = f"{best['ci_low']:.3f} to {best['ci_high']:.3f}".replace("-", "−")
        sentence += f" ({100 * comparison.confidence:g} % interval {spread})"
    sentence += f"{_of_the_others(others, best['loss'])}."
    left_out = (
        [] if comparison.family else left_out_sentences(rows, 1.0 if higher_is_better(comparison.metric) else -1.0)
    )
    return " ".join([sentence, *left_out])


def _of_the_others(others: Sequence[Mapping], best: str) -> str:
    if not others:
        return ", with no other loss to compare"
    equal = sum(row["indistinguishable_from_best"] is not False for row in others)
    if equal == len(others):
        some = "none of the other losses can" if equal > 1 else "the other loss can't"
        told = f"{some} be told apart from {best}"
    elif equal:
        told = f"{equal} of the {len(others)} other losses can't be told apart from {best}"
    else:
        told = f"it is told apart from {'all ' if len(others) > 1 else ''}{len(others)} other{'s' * (len(others) > 1)}"
    pairs = (len(others) + 1) * len(others) // 2
    return f"; {told}" + (f" once all {pairs} pairs of losses are corrected for" if pairs > 1 else "")
