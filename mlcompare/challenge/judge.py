"""Whether a verdict stands: the same two losses, compared by the same rule under other conditions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mlcompare.comparison import Contrast

__all__ = ["Outcome", "judge", "summary"]

LEVEL = 0.05


@dataclass(frozen=True)
class Outcome:
    """What came of one challenge.

    Attributes:
        name, what: of the variant.
        verdict: ``holds``; ``weaker`` where the same loss is ahead but no longer told apart; ``falls``; ``failed``
            where it couldn't be run, with the ``reason``; ``not run`` where the time didn't suffice.
        difference, low, high, p_value: how much better the original leader is, with the 95 % interval.
        means: of both losses.
        still_rising: the losses that were, when training stopped.
        minutes: what it took, or would take.
    """

    name: str
    what: str
    verdict: str
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    means: tuple[float | None, float | None] = (None, None)
    still_rising: tuple[str, ...] = ()
    minutes: float | None = None
    reason: str | None = None

    def record(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**asdict(self), "means": list(self.means), "still_rising": list(self.still_rising)}


def judge(original: Contrast, found: Contrast) -> str:
    """Return whether the original answer ``holds``, is ``weaker``, or ``falls``.

    Both contrasts are how much better the original leader is. Where it was told apart, it must be so again; where it
    wasn't, it must not be told apart now, on either side.

    >>> clear, unclear, against = Contrast(.2, .1, .3, .01), Contrast(.05, -.05, .15, .3), Contrast(-.2, -.3, -.1, .01)
    >>> [judge(clear, found) for found in (clear, unclear, against)]
    ['holds', 'weaker', 'falls']
    >>> [judge(unclear, found) for found in (clear, unclear, against)]
    ['falls', 'holds', 'falls']
    """
    if not math.isfinite(found.difference):
        return "failed"
    told_apart = found.p_value <= LEVEL
    if original.p_value <= LEVEL:
        if found.difference <= 0:
            return "falls"
        return "holds" if told_apart else "weaker"
    return "falls" if told_apart else "holds"


def summary(outcomes: Sequence[Outcome], names: tuple[str, str], original: Contrast) -> str:
    """Return the answer in one or two sentences."""
    first, second = names
    apart = original.p_value <= LEVEL
    claim = f"{first} beats {second}" if apart else f"{first} and {second} can't be told apart"
    run = [outcome for outcome in outcomes if outcome.verdict in ("holds", "weaker", "falls")]
    if not run:
        return f"'{claim}' has not been challenged yet."
    held = [outcome for outcome in run if outcome.verdict == "holds"]
    text = f"'{claim}' holds in {len(held)} of {len(run)} challenges"
    for verdict, told in (("falls", "falls with"), ("weaker", "is no longer sure with")):
        those = [outcome.what for outcome in run if outcome.verdict == verdict]
        text += f"; it {told} {', '.join(those)}" if those else ""
    left = [outcome for outcome in outcomes if outcome.verdict == "not run"]
    return text + "." + (f" {len(left)} were not run for lack of time." if left else "")
