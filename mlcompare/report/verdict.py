"""The study's question, answered in a sentence, and its decision rule, judged."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlcompare.comparison import Comparison, compare
from mlcompare.report.markup import number, p_value, span
from mlcompare.report.sources import Study

__all__ = ["Verdict", "judge", "leader_sentence", "rule_confidence"]

DEFAULT_RULE = "The {percent:g} % interval of the difference between the best of each family excludes zero."
ONE_TEST = "It is one question, asked beforehand; the table's p-values are corrected for all of its pairs."
METRIC_WORDS = {"map@r": "map_at_r", "map_at_r": "map_at_r", "r-precision": "r_precision", "mrr": "mrr", "auc": "auc",
                "eer": "eer", "nmi": "nmi", "ami": "ami", "ari": "ari"}  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """What the report says on top.

    Attributes:
        answer: the question's answer in a sentence, with its uncertainty.
        rule: the decision rule; the study's own words, or the default.
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
    """Answer the study's question by its decision rule.

    A rule is judged where it speaks of an interval that excludes zero (or of p below a level) between the families;
    any other is quoted beside the numbers, for the reader to judge.
    """
    comparison = study.comparison
    rule = study.config.get("decision_rule") or ""
    measured = study.results["metric"].dropna().unique().tolist()
    metric, confidence = rule_metric(rule, measured) or comparison.metric, rule_confidence(rule)
    if (metric, confidence) != (comparison.metric, comparison.confidence):
        comparison = compare(study.results, study.per_class, metric=metric, confidence=confidence, spaces=study.spaces)
    shown = rule or DEFAULT_RULE.format(percent=100 * comparison.confidence)
    answer = comparison.family.sentence if comparison.family else leader_sentence(comparison)
    return Verdict(answer, shown, *_judged(shown, comparison))


def _judged(rule: str, comparison: Comparison) -> tuple[str, str]:
    text = rule.lower()
    level = re.search(r"p(?:-value)?\s*(?:<|≤|below|under)\s*(0?\.\d+)", text)
    by_interval = "interval" in text and re.search(r"exclud\w* (?:zero|0)", text)
    if not (by_interval or level) or "famil" not in text:
        return "not judged", "This rule isn't one that the report can judge by itself; the numbers it needs are below."
    if comparison.family is None:
        return "not judged", "It compares two families, and only one of them has a score."
    best = comparison.family.best
    low, high = best.ci_low, best.ci_high
    shown = span(low, high, sign=True)
    if shown == "–":
        return "not judged", "The best losses of the families share no successful run."
    if by_interval:
        met = low > 0 or high < 0
        verb = "excludes" if met else "includes"
        return ("met" if met else "not met"), f"The interval of margin minus metric, {shown}, {verb} zero. {ONE_TEST}"
    met = level is not None and best.p_value <= float(level.group(1))
    return ("met" if met else "not met"), f"p = {p_value(best.p_value)} of margin minus metric. {ONE_TEST}"


def leader_sentence(comparison: Comparison) -> str:
    """Name the best loss, how sure its mean is, and how many others can't be told from it."""
    rows = {row["loss"]: row for row in comparison.records()}
    if comparison.best is None:
        failed = next((row["reason"] for row in rows.values() if row["reason"]), None)
        why = f" ({failed})" if failed else ""
        return f"No loss has a score on the sealed test classes yet{why}."
    best = rows[comparison.best]
    others = [r for r in rows.values() if r["family"] != "baseline" and r["loss"] != comparison.best]
    scored = [row for row in others if row["mean"] is not None]
    equal = [row for row in scored if row["indistinguishable_from_best"]]
    low, high = best["ci_low"], best["ci_high"]
    sentence = f"The best tuned loss is {comparison.best}: {comparison.metric} {number(best['mean'])}"
    if low is not None:
        sentence += f" ({100 * comparison.confidence:g} % interval {span(low, high)})"
    if not scored:
        return sentence + ", with no other loss to compare."
    if not equal:
        return sentence + f"; it is told apart from all {len(scored)} others."
    return sentence + f"; {len(equal)} of the {len(scored)} other losses can't be told apart from it."
