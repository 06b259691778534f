"""The command that asks whether a study's verdict stands."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlcompare.cli.app import app
from mlcompare.cli.options import PluginOption, StoreArgument
from mlcompare.cli.ranking import leave_report

__all__ = ["challenge"]

STYLES = {"holds": "green", "weaker": "yellow", "falls": "red", "failed": "dim", "not run": "dim"}


@app.command()
def challenge(
    store: StoreArgument,
    minutes: Annotated[float | None, typer.Option(help="Time for all of them, the most telling first (all).")] = None,
    executor: Annotated[str, typer.Option(help="auto, population, processes or in-process.")] = "auto",
    workers: Annotated[int | None, typer.Option(help="Trainings at a time (one for each core).")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    plugin: PluginOption = None,
) -> None:
    """Train the leaders again with more steps, other classes, batches and encoders: does the verdict stand?"""
    from mlcompare.challenge import Outcome, challenge_store

    console = Console()

    def told(outcome: Outcome) -> None:
        line = f"{outcome.verdict:8} {outcome.what}" + (f" ({outcome.reason})" if outcome.reason else "")
        console.print(Text(line, style=STYLES[outcome.verdict]), soft_wrap=True)

    kept = challenge_store(store, minutes=minutes, executor=executor, workers=workers, device=device, told=told)
    first, second = kept["leaders"]
    table = Table(box=None, title=f"{first} minus {second} on the sealed test classes", title_justify="left")
    table.add_column("challenge")
    for name in ("verdict", "difference", "95 % interval", "p"):
        table.add_column(name, justify="left" if name == "verdict" else "right", no_wrap=True)
    original = {"what": "the study itself", "verdict": "", **_renamed(kept["original"])}
    for row in (original, *kept["challenges"]):
        table.add_row(*(Text(cell, style=STYLES.get(row["verdict"], "")) for cell in _cells(row)))
    console.print(table)
    if any(row["still_rising"] for row in kept["challenges"]):
        console.print("↗ one of the two was still rising when training stopped", style="dim")
    console.print(kept["summary"], soft_wrap=True, markup=False)
    report = leave_report(store, None, console, anew=True)
    console.print(f"read more: {report}", soft_wrap=True, markup=False)


def _renamed(contrast: dict) -> dict:
    return {"low": contrast["ci_low"], "high": contrast["ci_high"], **contrast}


def _cells(row: dict) -> list[str]:
    known = row["difference"] is not None
    interval = f"{row['low']:+z.3f} – {row['high']:+z.3f}" if known and row["low"] is not None else "–"
    return [
        row["what"] + (" ↗" if row.get("still_rising") else ""), row["verdict"],
        f"{row['difference']:+z.3f}" if known else "–", interval,
        f"{row['p_value']:.3f}" if known and row["p_value"] is not None else "–",
    ]  # fmt: skip
