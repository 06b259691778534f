"""The command line: one thin function for each command."""

from __future__ import annotations

import os
import socket
import sys
from enum import StrEnum
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer
from rich.console import Console

from mlcompare import __version__
from mlcompare.cli.exits import orderly_exit
from mlcompare.errors import InvalidValueError

__all__ = ["app", "main"]

app = typer.Typer(
    name="mlcompare",
    help="Fair, tuned comparison of metric-learning and classification-margin losses.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

StudyArgument = Annotated[Path, typer.Argument(help="A study file, such as studies/quickstart.yaml.")]
StoreArgument = Annotated[Path, typer.Argument(help="A store, such as runs/faces-quickstart.")]
StoreOption = Annotated[Path | None, typer.Option("--store", help="Where to keep it (runs/<study name>).")]


class Format(StrEnum):
    table = "table"
    json = "json"
    csv = "csv"


class Family(StrEnum):
    metric = "metric"
    margin = "margin"


def _version(wanted: bool) -> None:
    if wanted:
        print(f"mlcompare {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Launch studies, compare losses, browse trials."""


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
    tracking_uri: Annotated[str | None, typer.Option(help="A running MLflow server (the store's own).")] = None,
    ray_address: Annotated[str | None, typer.Option(help="A Ray cluster, or `auto` (one on this machine).")] = None,
    gpus_per_job: Annotated[float, typer.Option(min=0, help="GPUs of a Ray job, such as 0.25.")] = 0.0,
    populations: Annotated[
        bool | None, typer.Option(help="Train a round's trials and folds as one program, or not (auto: measured).")
    ] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds after which a training counts as hung.")] = None,
    extend: Annotated[bool, typer.Option("--extend", help="Allow more trials, seeds or losses.")] = False,
) -> None:
    """Run a study, or finish one that was interrupted, and print the ranking."""
    from mlcompare.study import run_study
    from mlcompare.tracking.dashboard import where_to_browse

    console = Console()
    outcome = run_study(
        study, store, trials=trials, steps=steps, seeds=seeds, executor=executor, workers=workers, device=device,
        tracking_uri=tracking_uri, ray_address=ray_address, gpus_per_job=gpus_per_job, populations=populations,
        timeout=timeout, extend=extend, console=console,
    )  # fmt: skip
    done = f"{outcome.trained} trainings in {outcome.seconds:.0f} s"
    if outcome.trained == 0:
        done = f"nothing left to do: all {outcome.resumed} trainings were done before"
    elif outcome.resumed:
        done += f", {outcome.resumed} were done before"
    console.print(done)
    if outcome.tracking_fault:
        console.print(
            f"MLflow could not log everything ({outcome.tracking_fault}); the next run catches up", style="yellow"
        )
    _print_ranking(outcome.store, console)
    _print_failures(outcome.store, console)
    report = _leave_report(outcome.store, tracking_uri, console)
    console.print(f"browse:    {where_to_browse(outcome.store, tracking_uri, outcome.experiment_id)}", soft_wrap=True)
    console.print(f"read more: mlcompare report {quote(str(outcome.store))}  (written: {report})", soft_wrap=True)


def _print_failures(store: Path, console: Console) -> None:
    """Say how many trainings failed, where the reasons are, and how to have them run again."""
    from mlcompare.study import read_journal

    failed = sum(r["type"] == "job" and r["status"] != "ok" for r in read_journal(store / "journal.jsonl"))
    if failed:
        told = f"{failed} trainings failed, and stay so in this store: `mlcompare doctor {quote(str(store))}` says why"
        console.print(f"{told}; once the cause is mended, run with another --store", style="yellow", soft_wrap=True)


def _leave_report(store: Path, tracking_uri: str | None, console: Console) -> Path:
    """Write the report of a finished study and log it with its tables, where that isn't done yet."""
    from mlcompare.report import write_report
    from mlcompare.report.tables import ranking_csv
    from mlcompare.report.verdict import leader_sentence
    from mlcompare.tracking.comparison_run import log_comparison

    path, results = store / "report.html", store / "results.parquet"
    if path.is_file() and path.stat().st_mtime > results.stat().st_mtime:
        return path
    with console.status("writing the report"):
        comparison = _compare(store)
        (store / "ranking.csv").write_text(ranking_csv(comparison), encoding="utf-8")
        write_report([store])
        family, best = comparison.family, next((r for r in comparison.records() if r["loss"] == comparison.best), None)
        fault = log_comparison(store, best, family.sentence if family else leader_sentence(comparison), tracking_uri)
    if fault:
        console.print(f"MLflow could not log the comparison ({fault})", style="yellow")
    return path


def _compare(store: Path):
    from mlcompare.comparison import compare

    return compare(store)


def _print_ranking(store: Path, console: Console) -> None:
    from mlcompare.report.tables import print_ranking

    print_ranking(_compare(store), console)


@app.command()
def results(store: StoreArgument, format: Annotated[Format, typer.Option("--format", "-f")] = Format.table) -> None:
    """Print the ranking of a store: table, JSON or CSV."""
    from mlcompare.report.tables import ranking_csv, ranking_json

    if format is Format.table:
        _print_ranking(store, Console())
    else:
        print({Format.json: ranking_json, Format.csv: ranking_csv}[format](_compare(store)).rstrip("\n"))


@app.command()
def check(study: StudyArgument) -> None:
    """Check a study file and print the plan: trainings, estimated time, memory. Nothing is written."""
    from mlcompare.study import read_study
    from mlcompare.study.estimate import estimate
    from mlcompare.study.plan import make_plan
    from mlcompare.study.plan_summary import print_outline

    plan, console = make_plan(read_study(study), place=str(study)), Console()
    print_outline(plan, console)
    console.print(estimate(plan))


@app.command()
def report(
    stores: Annotated[list[Path], typer.Argument(metavar="STORE...", help="One store, or several to compare.")],
    out: Annotated[Path | None, typer.Option(help="The HTML file (report.html in the first store).")] = None,
) -> None:
    """Write one self-contained HTML file about a study, or about several."""
    from mlcompare.report import write_report

    path = write_report(stores, out)
    print(f"wrote {path}")


@app.command()
def dashboard(
    store: StoreArgument,
    host: Annotated[str, typer.Option(help="The address to serve at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to serve at.")] = 5000,
) -> None:
    """Serve the MLflow dashboard of a store until Ctrl-C."""
    from mlcompare.tracking import server_command
    from mlcompare.tracking.dashboard import view_links

    command, environment = server_command(store, host, port)
    if host not in ("127.0.0.1", "localhost", "::1"):
        print(f"warning: anyone who reaches {host}:{port} can read and change these runs", file=sys.stderr)
    _check_free(host, port)
    server = f"http://{host}:{port}"
    print(f"MLflow dashboard of {store}: {server}  (Ctrl-C ends it)\n{view_links(server)}", flush=True)
    os.execvpe(command[0], command, environment)  # the server takes this process: whatever ends one ends the other


def _check_free(host: str, port: int) -> None:
    """Refuse an address that can't be served at before anything says that it is."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        cure = "stop what serves there, or choose another --port"
        value = f"{host}:{port}: {error.strerror or error}"
        raise InvalidValueError("the address must be free", value=value, cure=cure, place="--port") from None


@app.command()
def export(
    store: StoreArgument,
    loss: Annotated[str, typer.Argument(help="A loss of the study.")],
    out: Annotated[Path, typer.Option("--out", help="The folder to make.")],
    far: Annotated[float, typer.Option(help="The false accept rate that the card's threshold keeps.")] = 1e-3,
    fold: Annotated[int, typer.Option(help="Whose encoder: each fold has one.")] = 0,
) -> None:
    """Write the encoder of a loss's selected setting: weights, program and card."""
    from mlcompare.export.model_folder import export_model

    exported = export_model(store, loss, out, far=far, fold=fold)
    for note in exported.notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"wrote {', '.join(exported.card['files'])} to {out}")


@app.command()
def embed(
    model: Annotated[Path, typer.Argument(help="A folder that `export` made.")],
    input: Annotated[Path, typer.Argument(help="A folder of images, or a table: .npz or .parquet.")],
    out: Annotated[Path, typer.Option("--out", help="The embeddings: .npz or .parquet.")],
) -> None:
    """Turn a folder of images or a table of features into embeddings."""
    from mlcompare.export.embed import embed_file

    print(f"wrote {embed_file(model, input, out)} embeddings to {out}")


@app.command()
def losses(
    name: Annotated[str | None, typer.Argument(help="One loss: its formula, hyperparameters and source.")] = None,
    family: Annotated[Family | None, typer.Option(help="Only metric or only margin losses.")] = None,
    provider: Annotated[str | None, typer.Option(help="native, plugin, or pml (pytorch-metric-learning's).")] = None,
    format: Annotated[Format, typer.Option("--format", "-f")] = Format.table,
) -> None:
    """List the losses, or show one."""
    from mlcompare.registry import get_spec, list_losses
    from mlcompare.report.listings import loss_page, loss_records, losses_table

    specs = list_losses(family, provider=provider) if name is None else [get_spec(name)]
    if format is Format.table:
        Console().print(losses_table(specs) if name is None else loss_page(specs[0]))
    else:
        _print_records(loss_records(specs), format)


def _print_records(records: list[dict], format: Format) -> None:
    from mlcompare.report.records import records_csv, records_json

    print({Format.json: records_json, Format.csv: records_csv}[format](records).rstrip("\n"))


@app.command()
def cite(name: Annotated[str, typer.Argument(help="A loss.")]) -> None:
    """Print the BibTeX entry of a loss."""
    from mlcompare.registry import get_spec

    spec = get_spec(name)
    if not spec.bibtex:
        raise InvalidValueError("this loss has no BibTeX entry", value=spec.reference, place=name)
    print(spec.bibtex)


@app.command()
def datasets(format: Annotated[Format, typer.Option("--format", "-f")] = Format.table) -> None:
    """List the datasets and their options."""
    from mlcompare.data import list_datasets
    from mlcompare.report.listings import dataset_records, datasets_table

    records = dataset_records(list_datasets())
    if format is Format.table:
        Console().print(datasets_table(records))
    else:
        _print_records(records, format)


@app.command()
def doctor(
    store: StoreArgument, rebuild: Annotated[bool, typer.Option("--rebuild", help="Make every view anew.")] = False
) -> None:
    """Check a store, and with --rebuild make its tables and databases anew from the journal."""
    from mlcompare.study.doctor import check_store, rebuild_views

    findings = check_store(store)
    for finding in findings:
        print(finding)
    if rebuild:
        print(rebuild_views(store))
    elif any(finding.startswith("fault") for finding in findings):
        raise typer.Exit(1)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; errors of ours become one line and exit code 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with orderly_exit(debug="--debug" in arguments):
        app(args=arguments, prog_name="mlcompare")
