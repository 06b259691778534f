"""The plan of a study in words: its data, what is searched, and how many trainings that makes."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlcompare.search.proposals import published_trials
from mlcompare.study.data_notes import data_notes
from mlcompare.study.nested import is_nested
from mlcompare.study.plan import StudyPlan

__all__ = ["print_outline"]


def print_outline(plan: StudyPlan, console: Console) -> None:
    """Print the plan of a study."""
    counts, dataset, splits = plan.count(), plan.data.dataset, plan.data.splits
    console.print(f"{plan.config.name}: {plan.config.question}".rstrip(": "), soft_wrap=True, markup=False)
    console.print(
        f"{dataset.name}: {len(dataset)} samples of {len(dataset.class_names)} classes, {dataset.sample_shape}; "
        f"{len(splits.test)} samples sealed, {len(splits.folds)} folds (splits {splits.hash[:12]})",
        soft_wrap=True,
        markup=False,
    )
    for note in data_notes(plan.data):
        console.print(f"note: {note}", soft_wrap=True, markup=False)
    if plan.corrupted():
        console.print(f"training samples are corrupted: {plan.corrupted()} (fold 0)", soft_wrap=True, markup=False)
    table = Table("loss", "family", "dimensions", "searched")
    for name, loss in plan.losses.items():
        table.add_row(Text(name), loss.entry.family, str(len(loss.dimensions)), Text(_searched(loss.space)))
    console.print(table)
    for name, loss in plan.losses.items():
        for setting, reason in published_trials(loss.space, loss.entry.published)[1]:
            told = ", ".join(f"{key}={value:g}" for key, value in setting.items())
            console.print(f"{name}: the published {told} is not tried: {reason}", soft_wrap=True, markup=False)
    console.print(
        f"{counts['trial']} trainings in the search, at most {counts['final']} at the end, "
        f"{counts['baseline']} baselines"
    )
    if is_nested(plan.config):
        parts = plan.config.protocol.outer_folds
        console.print(f"nested: all of this {parts} times, with another part of the classes sealed each time")


def _searched(space: dict) -> str:
    return "  ".join(
        f"{name} [{d.low:g}, {d.high:g}]{' log' if d.log else ''}" if hasattr(d, "low") else f"{name} {list(d.values)}"
        for name, d in space.items()
        if hasattr(d, "contains")
    )
