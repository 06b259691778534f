"""The question most studies ask: do margin losses beat metric losses, once both are tuned?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mlcompare.comparison.mean_squares import Folds
from mlcompare.comparison.pairwise import pair
from mlcompare.comparison.random_effects import means
from mlcompare.comparison.sentences import left_out_sentences, listed
from mlcompare.comparison.table import Scores

__all__ = ["Contrast", "FamilyAnswer", "contrast", "family_answer"]

OTHER = {"margin": "metric", "metric": "margin"}


@dataclass(frozen=True)
class Contrast:
    """A difference with its uncertainty: ``difference`` in units of the metric, interval, and p-value."""

    difference: float
    ci_low: float
    ci_high: float
    p_value: float


@dataclass(frozen=True)
class FamilyAnswer:
    """Margin against metric losses.

    A family leads when its best loss, named on validation, beats *every* loss of the other family on the sealed test
    classes (the largest of those p-values counts, an intersection-union test, so they need no correction), and when the
    ranking agrees: the best loss of all is of this family, and none of the other is marked as not told apart from it.

    Attributes:
        best_margin, best_metric: the best tuned loss of each family.
        chosen_on: "validation" or "test": the scores that named them (on test the larger family is favoured a little).
        best: margin minus metric, those two losses.
        mean: margin minus metric, the mean over each family's losses.
        leader: "margin", "metric", or None.
        p_value: the largest p-value of the best loss of the family that is ahead with every loss of the other; 1 where
            one of them scores at least as high.
        unbeaten: the losses of the other family that keep the one ahead from leading.
        sentence: the answer in words, with what it leaves out.
    """

    best_margin: str
    best_metric: str
    chosen_on: str
    best: Contrast
    mean: Contrast
    leader: str | None
    p_value: float
    unbeaten: tuple[str, ...]
    sentence: str

    @property
    def decided(self) -> bool:
        """Whether a family leads."""
        return self.leader is not None


def contrast(differences: np.ndarray, folds: Folds, *, confidence: float = 0.95, limit: float = math.inf) -> Contrast:
    """Return mean, interval and p-value of a matrix of differences ``(C, R)``, run r of fold ``folds[r]``.

    ``limit`` is how large a difference can be.
    """
    found = means([differences], folds, limit=limit)
    low, high = found.intervals(confidence)
    return Contrast(float(found.mean[0]), float(low[0]), float(high[0]), float(found.p_values()[0]))


def family_answer(
    rows: Sequence[Mapping], pairs: pd.DataFrame, scores: Scores, validation: Mapping[str, float], *, best: str | None,
    higher: bool = True, confidence: float = 0.95,
) -> FamilyAnswer | None:  # fmt: skip
    """Compare the families; None when one of them has no score.

    Args:
        rows: the ranking's rows, complete.
        pairs: all pairs of losses (:func:`mlcompare.comparison.pairwise`).
        validation: loss → how good its selected setting was on validation, larger is better; it names the best of each
            family. When a loss with test scores lacks one, the test scores name them.
        best: the best loss of the ranking.
    """
    sign = 1.0 if higher else -1.0
    members = {family: [row for row in rows if row["family"] == family and row["mean"] is not None] for family in OTHER}
    if not all(members.values()) or best is None:
        return None
    everyone = [row["loss"] for row in (*members["margin"], *members["metric"])]
    on_validation = all(np.isfinite(validation.get(name, np.nan)) for name in everyone)
    on_test = {row["loss"]: sign * row["mean"] for row in rows if row["mean"] is not None}
    rating = validation if on_validation else on_test
    named = {f: max((row["loss"] for row in mine), key=lambda name: rating[name]) for f, mine in members.items()}
    options = {"confidence": confidence, "limit": scores.largest_difference}
    of_best = contrast(scores.of(named["margin"]) - scores.of(named["metric"]), scores.folds, **options)
    family_means = {f: np.mean([scores.of(row["loss"]) for row in mine], axis=0) for f, mine in members.items()}
    of_mean = contrast(family_means["margin"] - family_means["metric"], scores.folds, **options)

    level = 1.0 - confidence
    ahead = next((f for f in OTHER if any(row["loss"] == best for row in members[f])), "margin")
    against = {row["loss"]: _p_of_beating(pairs, named[ahead], row["loss"], sign) for row in members[OTHER[ahead]]}
    p_value = max(against.values())
    singly = [name for name, p in against.items() if p > level]
    marked = [row["loss"] for row in members[OTHER[ahead]] if row["indistinguishable_from_best"] is not False]
    is_best_of_all = any(row["loss"] == best for row in members[ahead])
    leader = ahead if not singly and not marked and is_best_of_all else None
    chosen_on = "validation" if on_validation else "test"
    story = _Story(rows, pairs, members, named, chosen_on, ahead, best, sign, confidence)
    sentence = story.told(leader, p_value, singly, marked, of_best)
    unbeaten = tuple(dict.fromkeys([*singly, *marked]))
    return FamilyAnswer(
        named["margin"], named["metric"], chosen_on, of_best, of_mean, leader, p_value, unbeaten, sentence
    )


def _p_of_beating(pairs: pd.DataFrame, a: str, b: str, sign: float) -> float:
    """The p-value of a's lead over b; 1 where a is behind, or the two share no run."""
    row = pair(pairs, a, b)
    if row is None or np.isnan(row["p_value"]) or sign * row["difference"] <= 0:
        return 1.0
    return float(row["p_value"])


@dataclass(frozen=True)
class _Story:
    """The answer in words."""

    rows: Sequence[Mapping]
    pairs: pd.DataFrame
    members: Mapping[str, list[Mapping]]
    named: Mapping[str, str]
    chosen_on: str
    ahead: str
    best: str
    sign: float
    confidence: float

    def told(self, leader, p_value: float, singly: list[str], marked: list[str], of_best: Contrast) -> str:
        champion, behind = self.named[self.ahead], OTHER[self.ahead]
        who = f"{champion}, the best {self.ahead} loss on {self.chosen_on}"
        count = sum(row["family"] != "baseline" and row["mean"] is not None for row in self.rows)
        corrected = f"once all {count * (count - 1) // 2} pairs of losses are corrected for"
        if leader:
            first = f"{leader.capitalize()} losses lead: {who}, beats every {behind} loss on the sealed test classes "
            first += f"(largest p = {p_value:.2g})."
        elif not singly:
            equal = f"{listed(marked)} can't be told apart from {self.best} {corrected}" if marked else ""
            first = f"Neither family leads: {who}, beats every {behind} loss taken one by one "
            first += f"(largest p = {p_value:.2g}), but {equal or f'{self.best} scores higher'}."
        else:
            first = f"Neither family leads: {who}, {self._unbeaten(champion, singly)}"
            more = [name for name in marked if name not in singly]  # the ranking's ≈: it corrects
            first += f"; {listed(more)} can't be told apart from {self.best} {corrected}." if more else "."
        left_out = left_out_sentences(self.rows, self.sign)
        return " ".join([first, self._champions(of_best), *self._other_tops(), *left_out])

    def _unbeaten(self, champion: str, singly: list[str]) -> str:
        higher = [name for name in singly if self._behind(champion, name)]
        level = [name for name in singly if name not in higher]
        parts = [f"can't be told apart from {listed(level)}"] if level else []
        parts += [f"scores no better than {listed(higher)}"] if higher else []
        return " and ".join(parts)

    def _behind(self, champion: str, name: str) -> bool:
        row = pair(self.pairs, champion, name)
        return row is not None and self.sign * row["difference"] <= 0

    def _champions(self, of_best: Contrast) -> str:
        """Margin minus metric, the best of each."""
        margin, metric = self.named["margin"], self.named["metric"]
        if np.isnan(of_best.difference):
            return f"{margin} and {metric} share no successful run."
        text = f"Between the best of each family, {margin} minus {metric} is {of_best.difference:+z.3f}"
        if np.isnan(of_best.p_value):
            return text + ", with too few runs to say how sure that is."
        spread = f"{self.confidence:.0%} interval {of_best.ci_low:+z.3f} to {of_best.ci_high:+z.3f}"
        return f"{text} ({spread}, p = {of_best.p_value:.2g})."

    def _other_tops(self) -> list[str]:
        """Where the test scores put another loss of a family first, and by how much."""
        found = []
        for family, mine in self.members.items():
            top = max(mine, key=lambda row: self.sign * row["mean"])
            champion = next(row for row in mine if row["loss"] == self.named[family])
            if top["mean"] != champion["mean"]:
                found.append(
                    f"On the test classes another {family} loss has the best mean, {top['loss']} with "
                    f"{top['mean']:.3f} against {champion['mean']:.3f} of {champion['loss']}."
                )
        return found
