"""The command that says where to start and what to try next, without training anything."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlcompare.cli.app import app
from mlcompare.cli.options import PluginOption, at_home

if TYPE_CHECKING:
    from mlcompare.data.survey import Survey
    from mlcompare.study.plan import StudyPlan

__all__ = ["recommend"]


@app.command()
def recommend(
    what: Annotated[Path, typer.Argument(help="A study file, a store, or data (a folder, a table).", callback=at_home)],
    plugin: PluginOption = None,
) -> None:
    """Say where to start each loss and why, what a study could tell apart, and after it what to try next."""
    console = Console()
    if (what / "study.json").is_file():
        _after(what, console)
    elif what.suffix.lower() in (".yaml", ".yml"):
        from mlcompare.study import make_plan, read_study

        _before(make_plan(read_study(what), place=str(what)), console)
    else:
        from mlcompare.study.proposal.first_look import unmeasured_plan

        found, on_disk = _looked_at(what), what.exists()
        _before(unmeasured_plan(found), console)
        if on_disk:
            told = f"next: mlcompare init {quote(str(what))} writes a study that fits your minutes"
            console.print(told, soft_wrap=True, markup=False)


def _looked_at(what: Path) -> Survey:
    """Return what data hold: files or a folder, else a registered dataset of that name."""
    from mlcompare.data import DATASETS, load_dataset
    from mlcompare.data.survey import Survey, survey

    if what.exists() or str(what) not in DATASETS:
        return survey(what)
    dataset = load_dataset(str(what))
    return Survey(str(what), what, dataset.labels, dataset.class_names, split=dataset.split, dataset=dataset)


def _before(plan: StudyPlan, console: Console) -> None:
    """Print what can be said before anything is trained."""
    from mlcompare.comparison.power import smallest_difference
    from mlcompare.search.theory import theory_sentences
    from mlcompare.study.advice import advice_for
    from mlcompare.study.situation import situation_of

    found = situation_of(plan)
    console.print(
        f"{found.dataset}: trains on {found.classes} classes of {found.samples_per_class:.0f} samples"
        + (f" (the largest {found.imbalance:.1f} times the smallest)" if found.imbalance > 1.5 else "")
        + f", {found.embedding_dim} dimensions, batches of {found.batch}, {found.steps} steps",
        soft_wrap=True, markup=False,
    )  # fmt: skip
    table = Table(box=None, title="where to start", title_justify="left")
    for name in ("loss", "begin with", "because", "within 1 % of the best"):
        table.add_column(name, overflow="fold")
    for loss in plan.losses.values():
        advice = advice_for(loss, found.classes, found.dataset, found.encoder)
        told = "  ".join(f"{name} {_number(value)}" for name, value in advice.values.items())
        flat = "  ".join(f"{name} {ends}" for name, ends in advice.flat.items())
        table.add_row(*(Text(cell) for cell in (loss.name, told, advice.reason, flat)))
    console.print(table)
    console.print()
    for sentence in theory_sentences(found.classes, found.embedding_dim):
        console.print(sentence, soft_wrap=True, markup=False)
    splits, seeds = plan.data.splits, plan.config.final.seeds
    if splits.kind == "class_disjoint" and len(splits.folds) > 1:
        sealed = len(set(plan.data.dataset.labels[splits.test].tolist()))
        least = smallest_difference(sealed, len(splits.folds), seeds)
        console.print(
            f"power: with {sealed} sealed classes, {len(splits.folds)} folds and {seeds} seeds a true difference of "
            f"about {least:.3f} MAP@R between two losses is told with 80 % probability, if your data vary as faces and "
            "characters do",
            soft_wrap=True, markup=False,
        )  # fmt: skip


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _after(store: Path, console: Console) -> None:
    """Print what a finished study suggests to try next."""
    from mlcompare.comparison import compare, load_results, next_steps
    from mlcompare.comparison.stored import load_study

    comparison = compare(store)
    objective = load_study(store)["study"]["search"]["objective"]
    steps = next_steps(comparison, load_results(store), objective)
    console.print(f"{comparison.study}, after {comparison.metric} on the sealed test classes:", markup=False)
    for step in steps:
        console.print(f"• {step}", soft_wrap=True, markup=False)
    if not steps:
        console.print("nothing stands out: no loss was still rising, on a bound, or close to the best", markup=False)
