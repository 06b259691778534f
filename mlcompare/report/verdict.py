"""The answer to the study's question, and whether its decision rule is met."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mlcompare.comparison import Comparison, compare, leader_sentence
from mlcompare.comparison.pairwise import pair
from mlcompare.report.formats import number, p_value, span
from mlcompare.report.study import Study

__all__ = ["Verdict", "judge", "leader_sentence", "rule_confidence"]

DEFAULT_RULE = (
    "A family leads when its best loss on validation beats every loss of the other family, and the ranking tells each "
    "of those losses apart from the best of all."
)
NO_RULE = "No rule stood in the study file; this one is mlcompare's."
ASKED_BEFOREHAND = (
    "The rule stood in the study file before the run, as one question, so it is judged without correction for the "
    "other pairs of the table."
)
CHANGED_LATER = (
    "The rule was worded anew when {count} of the sealed results were known ({when}; before: “{old}”): it was not "
    "asked beforehand."
)
ADDED_LATER = (
    "The rule was written when {count} of the sealed results were known ({when}): it was not asked beforehand."
)
MORE_THAN_THE_RULE = (
    "The answer above asks for more than this rule: that every loss of the other family is beaten, and that the "
    "ranking, corrected for all pairs, agrees."
)
ONE_FAMILY = "It compares two families, and only one of them has a score."
NO_FAMILY = "It compares two families, and none of their losses has a score yet."
UNFINISHED = "The study isn't finished, so this may change."
BEYOND_THE_STUDY = re.compile(r"holm|bonferroni|correct|studies")
METRIC_WORDS = {"map@r": "map_at_r", "map_at_r": "map_at_r", "r-precision": "r_precision", "mrr": "mrr", "auc": "auc",
                "eer": "eer", "nmi": "nmi", "ami": "ami", "ari": "ari"}  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """The answer at the top of a report.

    Attributes:
        answer: the question's answer, with its uncertainty and what it leaves out.
        rule: the decision rule; the study's own words, or mlcompare's rule where the study file had none.
        state: "met", "not met" or "not judged".
        because: why.
    """

    answer: str
    rule: str
    state: str
    because: str


def rule_confidence(rule: str) -> float:
    """Return the confidence that a rule asks for ("the 90 % interval …"), 0.95 if it doesn't say.

    >>> rule_confidence("The 90 % interval excludes zero."), rule_confidence("whatever")
    (0.9, 0.95)
    """
    found = re.search(r"(\d+(?:\.\d+)?)\s*%[\s-]*(?:confidence |bootstrap )?interval", rule)
    share = float(found.group(1)) / 100 if found else 0.95
    return share if 0.5 <= share < 1 else 0.95


def rule_metric(rule: str, measured: list[str]) -> str | None:
    """Return the metric that a rule names, if it was measured; "recall@1" and "recall_at_1" both count.

    >>> rule_metric("recall@5 must differ", ["map_at_r", "recall_at_5"])
    'recall_at_5'
    """
    text = rule.lower()
    found = re.search(r"recall\s*(?:@|_at_)\s*(\d+)", text)
    names = [f"recall_at_{found.group(1)}"] if found else []
    names += [name for word, name in METRIC_WORDS.items() if re.search(rf"(?<![\w@]){re.escape(word)}(?![\w@])", text)]
    return next((name for name in names if name in measured), None)


def judge(study: Study) -> Verdict:
    """Answer the study's question, and judge its decision rule.

    The answer is about the numbers that the ranking shows. A rule is judged where it speaks of an interval that
    excludes zero (or of p below a level) between the best of each family, on the metric and at the confidence that it
    names; any other is quoted beside the numbers, for the reader to judge.
    """
    comparison = study.comparison
    answer = comparison.family.sentence if comparison.family else leader_sentence(comparison)
    rule = study.config.get("decision_rule") or ""
    if not rule:
        return Verdict(answer, DEFAULT_RULE, *_so_far(study, *_judged_by_default(comparison)))
    measured = study.results["metric"].dropna().unique().tolist()
    metric, confidence = rule_metric(rule, measured) or comparison.metric, rule_confidence(rule)
    if (metric, confidence) != (comparison.metric, comparison.confidence):
        comparison = compare(study.results, study.per_class, metric=metric, confidence=confidence,
                             objective=study.metric, spaces=study.spaces)  # fmt: skip
    state, because = _judged(rule, comparison)
    because = f"{because} {asked(study.known.get('edits', ()))}" if state in ("met", "not met") else because
    if state == "met" and not (study.comparison.family and study.comparison.family.decided):
        because += f" {MORE_THAN_THE_RULE}"
    return Verdict(answer, rule, *_so_far(study, state, because))


def _so_far(study: Study, state: str, because: str) -> tuple[str, str]:
    """Leave a rule open that more of the study may decide in another way."""
    return ("not judged", f"{UNFINISHED} {because}") if study.unfinished and state != "not judged" else (state, because)


def _missing_family(comparison: Comparison) -> str:
    return ONE_FAMILY if comparison.best else NO_FAMILY


def _judged_by_default(comparison: Comparison) -> tuple[str, str]:
    if comparison.family is None:
        return "not judged", f"{_missing_family(comparison)} {NO_RULE}"
    if comparison.family.decided:
        return "met", f"The {comparison.family.leader} losses do. {NO_RULE}"
    return "not met", NO_RULE


def _judged(rule: str, comparison: Comparison) -> tuple[str, str]:
    text = rule.lower()
    level = re.search(r"p(?:-value)?\s*(?:<|≤|below|under)\s*(0?\.\d+)", text)
    by_interval = "interval" in text and re.search(r"exclud\w* (?:zero|0)", text)
    if not (by_interval or level) or "famil" not in text:
        return "not judged", "This rule isn't one that the report can judge by itself; the numbers it needs are below."
    if comparison.family is None:
        return "not judged", _missing_family(comparison)
    best = comparison.family.best
    which = f"{comparison.family.best_margin} minus {comparison.family.best_metric} in {comparison.metric}"
    shown = span(best.ci_low, best.ci_high, sign=True)
    if shown == "–":
        return "not judged", "The best losses of the families share too few successful runs."
    if by_interval:
        met = best.ci_low > 0 or best.ci_high < 0
        why = f"The interval of {which}, {shown}, {'excludes' if met else 'includes'} zero."
    else:
        met = level is not None and best.p_value <= float(level.group(1))
        why = f"p = {p_value(best.p_value)} of {which}."
    if met:
        why += _luck_of_search(comparison)
    if met and BEYOND_THE_STUDY.search(text):
        return "not judged", f"{why} The rule also asks for a correction that this study alone can't tell."
    return ("met" if met else "not met"), why


def _luck_of_search(comparison: Comparison) -> str:
    """What no interval counts: another search may change the difference of the families' best losses by as much."""
    assert comparison.family is not None
    row = pair(comparison.pairwise, comparison.family.best_margin, comparison.family.best_metric)
    margin = row["search_margin"] if row else None
    if not margin or not abs(comparison.family.best.difference) <= margin:
        return ""
    return f" Another search of as many trials may change it by ±{number(margin)}: it may be that search's luck."


def asked(edits: Iterable[Mapping[str, Any]]) -> str:
    """Say whether the rule stood in the study file before anything of the sealed classes was known."""
    later = [edit for edit in edits if edit["key"] == "decision_rule" and edit["sealed_results"]]
    if not later:
        return ASKED_BEFOREHAND
    first = later[0]
    text = CHANGED_LATER if first["old"] else ADDED_LATER
    return text.format(count=first["sealed_results"], when=first["when"][:10], old=first["old"])
