"""Commands that launch a study: check and run."""

from __future__ import annotations

from shlex import quote
from typing import Annotated

import typer
from rich.console import Console

from mlcompare.cli.app import app
from mlcompare.cli.options import PluginOption, StoreOption, StudyArgument
from mlcompare.cli.ranking import any_result, leave_report, print_failures, print_ranking

__all__ = ["check", "run"]


@app.command()
def run(
    study: StudyArgument,
    store: StoreOption = None,
    trials: Annotated[int | None, typer.Option(help="Trials for each loss, instead of the file's.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of each training, instead of the file's.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Final seeds, instead of the file's.")] = None,
    executor: Annotated[str, typer.Option(help="auto, population, processes, in-process or ray.")] = "auto",
    workers: Annotated[int | None, typer.Option(help="Trainings at a time (one for each core).")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    devices: Annotated[
        str | None, typer.Option(help="CUDA devices to spread workers over: cuda:0,cuda:1 or all.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of each training.")] = 1,
    tracking_uri: Annotated[str | None, typer.Option(help="A running MLflow server (the store's own).")] = None,
    ray_address: Annotated[str | None, typer.Option(help="A Ray cluster, or `auto` (one on this machine).")] = None,
    gpus_per_job: Annotated[float, typer.Option(min=0, help="GPUs of a Ray job, such as 0.25.")] = 0.0,
    populations: Annotated[
        bool | None, typer.Option(help="Train a round's trials and folds as one program, or not (auto: measured).")
    ] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds after which a training counts as hung.")] = None,
    extend: Annotated[
        bool, typer.Option("--extend", help="Allow more trials, seeds, losses or metrics, and wider ranges.")
    ] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Train again what failed before.")] = False,
    start_from: Annotated[
        list[str] | None,
        typer.Option(help="A store of an earlier study whose best settings to begin with (may be repeated)."),
    ] = None,
    plugin: PluginOption = None,
) -> None:
    """Run a study, or finish one that was interrupted, and print the ranking."""
    from mlcompare.study import run_study
    from mlcompare.study.nested import store_of_runs
    from mlcompare.tracking.dashboard import where_to_browse

    console = Console()
    outcome = run_study(
        study, store, trials=trials, steps=steps, seeds=seeds, executor=executor, workers=workers, device=device,
        devices=devices, threads=threads, tracking_uri=tracking_uri, ray_address=ray_address,
        gpus_per_job=gpus_per_job, populations=populations, timeout=timeout, extend=extend, retry_failed=retry_failed,
        start_from=start_from or (), console=console,
    )  # fmt: skip
    done = f"{outcome.trained} trainings in {outcome.seconds:.0f} s"
    if outcome.trained == 0:
        done = f"nothing left to do: all {outcome.resumed} trainings were done before"
    elif outcome.resumed:
        done += f", {outcome.resumed} were done before"
    console.print(done)
    if outcome.tracking_fault:
        console.print(
            f"MLflow could not log everything ({outcome.tracking_fault}); the next run catches up",
            style="yellow",
            markup=False,
        )
    print_ranking(outcome.store, console)
    print_failures(outcome.store, console)
    report = leave_report(outcome.store, tracking_uri, console)
    runs = store_of_runs(outcome.store)
    console.print(
        f"browse:    {where_to_browse(runs, tracking_uri, outcome.experiment_id, outcome.fingerprint)}",
        soft_wrap=True,
        markup=False,
    )
    console.print(
        f"read more: mlcompare report {quote(str(outcome.store))}  (written: {report})", soft_wrap=True, markup=False
    )
    if not any_result(outcome.store):
        console.print("no loss has a result: every final training failed", style="red")
        raise typer.Exit(1)


@app.command()
def check(study: StudyArgument, plugin: PluginOption = None) -> None:
    """Check a study file and print the plan: trainings, estimated time, memory. No store is made."""
    from mlcompare.execution.devices import resolve_devices
    from mlcompare.study import read_study
    from mlcompare.study.estimate import estimate
    from mlcompare.study.memory import free_memory, memory_note, too_little_memory
    from mlcompare.study.plan import make_plan
    from mlcompare.study.plan_summary import print_outline

    plan, console = make_plan(read_study(study), place=str(study), device=resolve_devices(None, "auto")[0]), Console()
    print_outline(plan, console)
    if short := too_little_memory(plan, workers=1):
        console.print(f"{short}; it isn't timed", soft_wrap=True, markup=False)
        return
    with console.status("timing a few steps of each loss"):
        found = estimate(plan)
    console.print(str(found), soft_wrap=True, markup=False)
    if short := memory_note(found.memory, found.workers, free_memory(plan)):
        console.print(short, soft_wrap=True, markup=False)
