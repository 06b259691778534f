"""Sections on the ranking: answer, leaderboard, pairs, what tuning bought, cost, failures."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from mlcompare.comparison.search_luck import luck_note
from mlcompare.comparison.table import NOT_FAILED
from mlcompare.report.about import about
from mlcompare.report.formats import number, p_value, seconds, span
from mlcompare.report.learning_section import caution
from mlcompare.report.page import Part, render
from mlcompare.report.ranking_plots import cost_plot, final_costs, forest_plot, tunability_plot
from mlcompare.report.study import Study
from mlcompare.report.verdict import judge, leader_sentence

__all__ = ["answer_box", "cost_part", "failures_part", "leaderboard_part", "pairs_part", "tunability_part"]


def answer_box(study: Study) -> Markup:
    """Return the question, its answer, the decision rule with its outcome, and whether the study goes on."""
    found, finished, in_tables = study.comparison, study.progress.jobs, len(study.trainings())
    luck = luck_note(found.records(), found.best, found.confidence)
    unfinished = {"finished": finished, "in_tables": in_tables} if finished > in_tables else None
    return render(
        "answer", question=study.config.get("question"), verdict=judge(study),
        cautions=[told for told in (caution(study), luck) if told], leader=leader_sentence(found),
        unfinished=unfinished, left=study.unfinished, about=about(study),
    )  # fmt: skip


def leaderboard_part(study: Study, prefix: str, level: int) -> Part:
    """Every loss and baseline, best first; the forest plot; the selected settings."""
    plot = forest_plot(study, prefix)
    rows = study.comparison.records()
    body = render("leaderboard", comparison=study.comparison, rows=rows, plot=plot, symbols=study.symbols)
    return Part(f"{prefix}-leaderboard", "Leaderboard", body, [plot] if plot else [], level)


def pairs_part(study: Study, prefix: str, level: int) -> Part:
    """Return every pair's difference and corrected p-value, and what it would take to tell the others apart."""
    found = study.comparison
    names = [row["loss"] for row in found.records() if row["mean"] is not None]
    estimates = [(name, found.separation[name].sentence) for name in found.separation if name in study.losses()]
    body = render("pairs", comparison=found, names=names, cells=_cells(study, names), estimates=estimates)
    return Part(f"{prefix}-pairs", "Pairs", body, level=level)


def _cells(study: Study, names: list[str]) -> dict[tuple[str, str], dict[str, float] | None]:
    """Return what stands in each cell of the matrix, None where there is no difference; empty without any pair."""
    known: dict[tuple[str, str], dict[str, float]] = {}
    for row in study.comparison.pairwise.dropna(subset=["difference"]).itertuples():
        p, beats, low, high = row.p_holm, row.probability_a_beats_b, row.simultaneous_low, row.simultaneous_high
        lucky = abs(row.difference) <= (row.search_margin or 0.0)  # NaN is never as large
        both = {"p": p, "lucky": lucky}
        known[row.a, row.b] = {**both, "difference": row.difference, "beats": beats, "low": low, "high": high}
        known[row.b, row.a] = {**both, "difference": -row.difference, "beats": 1 - beats, "low": -high, "high": -low}
    largest = max((abs(cell["difference"]) for cell in known.values()), default=0.0) or 1.0
    for cell in known.values():
        cell["tint"] = round(32 * abs(cell["difference"]) / largest)
    return {(a, b): known.get((a, b)) for a in names for b in names} if len(study.comparison.pairwise) else {}


def tunability_part(study: Study, prefix: str, level: int) -> Part | None:
    """What the search bought over the default setting."""
    plot = tunability_plot(study, prefix) if len(study.comparison.tunability) else None
    if plot is None:
        return None
    gains = study.comparison.tunability.dropna(subset=["gain"]).sort_values("gain", ascending=False)
    rows = [
        (r.loss, number(r.default_mean), number(r.tuned_mean), number(r.gain, sign=True),
         span(r.simultaneous_low, r.simultaneous_high, sign=True), p_value(r.p_holm))
        for r in gains.itertuples()
    ]  # fmt: skip
    body = render("tuning", metric=study.metric, confidence=study.comparison.confidence, plot=plot, rows=rows)
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
    body = render("cost", metric=study.metric, plot=plot, rows=rows)
    return Part(f"{prefix}-cost-part", "Cost and quality", body, [plot], level)


def failures_part(study: Study, prefix: str, level: int) -> Part:
    """Every reason a training failed for, with how often."""
    trainings = study.trainings()
    failed = trainings[~trainings["status"].isin(NOT_FAILED)]
    runs = failed.drop_duplicates(["loss", "kind", "trial", "fold", "seed"])
    runs = runs.assign(reason=runs["reason"].fillna("no reason given"))
    rows: list[tuple[Any, ...]] = [
        (loss, kind, len(group), ", ".join(str(t) for t in sorted(set(group["trial"].dropna()))) or "–", reason)
        for (loss, kind, reason), group in runs.groupby(["loss", "kind", "reason"], sort=False)
    ]
    body = render("failures", count=len(runs), rows=rows)
    return Part(f"{prefix}-failures", "Failures", body, level=level)
