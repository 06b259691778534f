"""Sections on the ranking: leaderboard, pairs, what tuning bought, cost, failures."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mlcompare.report.markup import Html, join, number, p_value, seconds, setting, span, table, tag
from mlcompare.report.page import Part
from mlcompare.report.plots import figure
from mlcompare.report.ranking_plots import cost_plot, final_costs, forest_plot, tunability_plot
from mlcompare.report.study import Study

__all__ = ["answer_box", "cost_part", "failures_part", "leaderboard_part", "pairs_part", "tunability_part"]

BADGES = {"met": "good", "not met": "bad", "not judged": "open"}


def answer_box(study: Study) -> Html:
    """Return the question, its answer, and the decision rule with its outcome."""
    from mlcompare.report.learning_section import caution
    from mlcompare.report.verdict import judge, leader_sentence

    verdict = judge(study)
    leader = leader_sentence(study.comparison)
    badge = tag("span", f"Rule {verdict.state}", class_=f"badge {BADGES[verdict.state]}")
    question = study.config.get("question")
    rising = caution(study)
    return tag(
        "div",
        tag("p", tag("strong", question), class_="lede") if question else "",
        tag("p", verdict.answer),
        tag("p", leader) if leader != verdict.answer else "",
        tag("p", tag("strong", "Caution: "), rising) if rising else "",
        tag("p", badge, " ", tag("q", verdict.rule), " ", verdict.because, class_="muted"),
        class_="answer",
    )


def _name(row: dict[str, Any], best: str | None) -> Html | str:
    marker = "★" if row["loss"] == best else "≈" if row["indistinguishable_from_best"] else " "
    return join([tag("span", marker, class_="marker"), row["loss"]], "")


def _settings(row: dict[str, Any]) -> Html | str:
    if row["hyperparameters"] is None:
        return row["reason"] or ""
    numbers = {k: v for k, v in row["hyperparameters"].items() if isinstance(v, float)}
    parts = [f"{k} = {setting(v)}{'*' if k in row['at_bound'] else ''}" for k, v in numbers.items()]
    return join([tag("span", part, class_="setting") for part in parts], " ")


def leaderboard_part(study: Study, prefix: str, level: int) -> Part:
    """Every loss and baseline, best first; the forest plot; the selected settings."""
    found, percent = study.comparison, f"{100 * study.comparison.confidence:g} %"
    header = ["loss", "family", "mean", f"{percent} interval", "untuned"]
    header += ["to best", f"{percent} interval, all pairs", "p (Holm)"]
    rows, classes = [], []
    for row in found.records():
        is_best = row["loss"] == found.best
        difference = number(row["difference_to_best"], sign=True)
        spread = span(row["difference_low"], row["difference_high"], sign=True)
        rows.append([
            _name(row, found.best), row["family"] or "–", number(row["mean"]), span(row["ci_low"], row["ci_high"]),
            number(row["default_mean"]), *(("", "", "") if is_best else (difference, spread, p_value(row["p_value"]))),
        ])  # fmt: skip
        classes.append("best" if is_best else "baseline" if row["family"] == "baseline" else "")
    caption = (
        f"{found.metric} on the sealed test classes. ★ best loss · ≈ not told apart from it. The interval of a mean is "
        "of this loss alone; the interval and p-value of a difference are corrected for all pairs of losses (a "
        f"baseline's for all pairs of a loss and a baseline). They count {_unit(found.unit)}."
    )
    parts: list[Any] = [table(caption, header, rows, numeric=range(2, 8), classes=classes)]
    plot = forest_plot(study, prefix)
    if plot:
        told = f"Dots: tuned, with {percent} intervals. Hollow diamonds: the default setting. Dotted: the best loss."
        parts.append(figure(plot, told))
    parts.append(_selected(study))
    if found.notes:
        parts.append(tag("ul", *[tag("li", note) for note in found.notes], class_="notes muted"))
    return Part(f"{prefix}-leaderboard", "Leaderboard", join(parts), [plot] if plot else [], level)


def _selected(study: Study) -> Html:
    rows = [
        (row["loss"], _settings(row), f"{row['runs']} of {row['runs'] + row['failed_runs']}")
        for row in study.comparison.records() if row["family"] != "baseline"
    ]  # fmt: skip
    caption = "The selected setting of each loss, and how many of its final runs succeeded. * on the bound of its range"
    return table(caption, ["loss", "selected setting", "runs"], rows, numeric=[2])


def _unit(unit: str) -> str:
    return "test classes, folds, and seeds within folds" if unit == "class" else "folds, and seeds within folds"


def pairs_part(study: Study, prefix: str, level: int) -> Part:
    """Return every pair's difference and corrected p-value, and what it would take to tell the others apart."""
    found = study.comparison
    names = [row["loss"] for row in found.records() if row["mean"] is not None]
    parts: list[Any] = []
    if found.pairwise.empty:
        parts.append(tag("p", "Two losses with scores are needed for a comparison in pairs."))
    else:
        parts.append(_matrix(found.pairwise, names, found.metric, 1.0 - found.confidence))
    if found.separation:
        losses = set(study.losses())
        rows = [(name, estimate.sentence) for name, estimate in found.separation.items() if name in losses]
        caption = (
            f"What it would take to tell a loss from {found.best}, if the difference seen is the true one, corrected "
            "for all pairs of losses as the smallest p-value is"
        )
        parts.append(table(caption, ["loss", "estimate"], rows))
    return Part(f"{prefix}-pairs", "Pairs", join(parts), level=level)


def _matrix(pairs: pd.DataFrame, names: list[str], metric: str, level: float) -> Html:
    known = {}
    for row in pairs.itertuples():
        low, high = row.simultaneous_low, row.simultaneous_high
        known[row.a, row.b] = (row.difference, row.p_holm, row.probability_a_beats_b, low, high)
        known[row.b, row.a] = (-row.difference, row.p_holm, 1 - row.probability_a_beats_b, -high, -low)
    largest = max((abs(value[0]) for value in known.values() if value[0] == value[0]), default=0.0) or 1.0
    head = tag("tr", tag("th", "row − column", scope="col"),
               *[tag("th", tag("span", name), scope="col") for name in names])  # fmt: skip
    body = [
        tag("tr", tag("th", a, scope="row"), *[_cell(known.get((a, b)), a, b, largest, level) for b in names])
        for a in names
    ]
    caption = f"Difference in {metric}, row minus column, and the p-value, corrected for all pairs of losses, or of a "
    caption += f"loss and a baseline. Bold: told apart at {level:.2g}. A cell's title has the corrected interval."
    parts = tag("caption", tag("span", caption)), tag("thead", head), tag("tbody", *body)
    inner = tag("table", *parts, class_="matrix")
    return tag("div", inner, class_="scroll", role="region", aria_label="Pairwise differences", tabindex=0)


def _cell(value: tuple[float, ...] | None, a: str, b: str, largest: float, level: float) -> Html:
    if value is None or value[0] != value[0]:
        return tag("td", "" if a == b else "–")
    difference, p, beats, low, high = value
    share = round(32 * min(abs(difference) / largest, 1.0))
    tint = f"background: color-mix(in srgb, var(--{'good' if difference > 0 else 'bad'}) {share}%, transparent)"
    title = f"{a} minus {b}: {span(low, high, sign=True)}; {a} scores higher in {beats:.0%} of classes and runs"
    kind = "apart" if p <= level else None
    return tag("td", number(difference, sign=True), tag("small", p_value(p)), title=title, class_=kind, style=tint)


def tunability_part(study: Study, prefix: str, level: int) -> Part | None:
    """What the search bought over the default setting."""
    gains = study.comparison.tunability.dropna(subset=["gain"]) if len(study.comparison.tunability) else None
    plot = tunability_plot(study, prefix) if gains is not None and len(gains) else None
    if plot is None or gains is None:
        return None
    rows = [
        (r.loss, number(r.default_mean), number(r.tuned_mean), number(r.gain, sign=True),
         span(r.simultaneous_low, r.simultaneous_high, sign=True), p_value(r.p_holm))
        for r in gains.sort_values("gain", ascending=False).itertuples()
    ]  # fmt: skip
    percent = f"{100 * study.comparison.confidence:g} %"
    header = ["loss", "default", "tuned", "gain", f"{percent} interval, all losses", "p (Holm)"]
    caption = (
        f"{study.metric} of the default and of the tuned setting, on the classes and runs both have; interval and "
    )
    caption += "p-value are corrected for all losses"
    told = "A gain of exactly 0 without an interval: the default itself was selected."
    body = join([figure(plot, told), table(caption, header, rows, numeric=range(1, 6))])
    return Part(f"{prefix}-tuning", "What tuning bought", body, [plot], level)


def cost_part(study: Study, prefix: str, level: int) -> Part | None:
    """Seconds and memory against quality."""
    plot = cost_plot(study, prefix)
    if plot is None:
        return None
    costs = final_costs(study)
    rows = [
        (r["loss"], number(r["mean"]), seconds(costs[r["loss"]][0]), f"{costs[r['loss']][1] / 2**20:.0f} MiB",
         r["trials"], seconds(r["seconds"]))
        for r in study.comparison.records() if r["loss"] in costs and r["mean"] is not None
    ]  # fmt: skip
    header = ["loss", study.metric, "one training", "peak memory", "trials", "all its trainings"]
    body = join([
        figure(plot, "The larger a marker, the more memory. Memory on a CPU is that of the whole process."),
        table("Cost of the selected setting, and of everything spent on the loss", header, rows, numeric=range(1, 6)),
    ])  # fmt: skip
    return Part(f"{prefix}-cost-part", "Cost and quality", body, [plot], level)


def failures_part(study: Study, prefix: str, level: int) -> Part:
    """Every reason a training failed for, with how often."""
    rows = study.trainings()
    rows = rows[rows["status"] != "ok"]
    if rows.empty:
        return Part(f"{prefix}-failures", "Failures", tag("p", "No training failed."), level=level)
    runs = rows.drop_duplicates(["loss", "kind", "trial", "fold", "seed"])
    runs = runs.assign(reason=runs["reason"].fillna("no reason given"))
    groups = runs.groupby(["loss", "kind", "reason"], sort=False)
    shown = [
        (loss, kind, len(group), ", ".join(str(t) for t in sorted(set(group["trial"].dropna()))) or "–", reason)
        for (loss, kind, reason), group in groups
    ]
    body = table(f"{len(runs)} trainings failed", ["loss", "kind", "how many", "trials", "reason"], shown, numeric=[2])
    return Part(f"{prefix}-failures", "Failures", body, level=level)
