"""Commands that show what a store holds: results, report, dashboard and doctor."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer
from rich.console import Console

from mlcompare.cli.app import app, uncollected
from mlcompare.cli.options import Format, PluginOption, ReportFormat, StoreArgument, at_home
from mlcompare.cli.ranking import any_result, compared, leave_report, print_ranking, what_is_left, what_is_there
from mlcompare.errors import InvalidValueError, StoreError

__all__ = ["dashboard", "doctor", "report", "results"]


@app.command()
def results(
    store: StoreArgument,
    format: Annotated[Format, typer.Option("--format", "-f")] = Format.table,
    plugin: PluginOption = None,
) -> None:
    """Print the ranking of a store: table, JSON or CSV."""
    with uncollected():
        from mlcompare.report.tables import ranking_csv, ranking_json

        if format is Format.table:
            print_ranking(store, Console())
        else:
            _tell(what_is_there(store))
            print({Format.json: ranking_json, Format.csv: ranking_csv}[format](compared(store)).rstrip("\n"))


def _tell(sentence: str) -> None:
    """Say something beside the output, where there is something to say."""
    if sentence:
        print(sentence, file=sys.stderr)


@app.command()
def report(
    stores: Annotated[
        list[Path], typer.Argument(metavar="STORE...", help="One store, or several to compare.", callback=at_home)
    ],
    out: Annotated[
        Path | None, typer.Option(help="The file (report.html, .md or .tex in the first store).", callback=at_home)
    ] = None,
    format: Annotated[
        ReportFormat, typer.Option("--format", "-f", help="A page to read, or the ranking for a text.")
    ] = ReportFormat.html,
    plugin: PluginOption = None,
) -> None:
    """Write one self-contained HTML file about a study, or about several; or the tables for a paper."""
    from mlcompare.report import write_report

    left = {store: what_is_there(store) for store in stores}
    for told in left.values():
        _tell(told)
    left = {store: told.removeprefix("unfinished: ") for store, told in left.items()}
    path = write_report(stores, out, format=format.value, unfinished=left)
    print(f"wrote {path}")


@app.command()
def dashboard(
    store: StoreArgument,
    host: Annotated[str, typer.Option(help="The address to serve at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to serve at.")] = 5000,
) -> None:
    """Serve the MLflow dashboard of a store until Ctrl-C."""
    from mlcompare.study.nested import store_of_runs
    from mlcompare.study.store import holder_of
    from mlcompare.tracking import server_command
    from mlcompare.tracking.dashboard import view_links

    if (part := store_of_runs(store)) != store:
        cure = f"open one part's: mlcompare dashboard {quote(str(part))}; `mlcompare report` has all parts together"
        raise StoreError("each part of a nested study has runs of its own", value=str(store), cure=cure)
    if not (store / "mlflow.db").is_file() and (holder := holder_of(store)):
        rule, cure = "the store must hold mlflow.db", "wait for its first trial"
        raise StoreError(rule, value=f"none yet: running ({holder})", cure=cure, place=str(store))
    command, environment = server_command(store, host, port)
    _tell(what_is_left(store))
    if host not in ("127.0.0.1", "localhost", "::1"):
        print(f"warning: anyone who reaches {host}:{port} can read and change these runs", file=sys.stderr)
    if not os.access(store, os.W_OK):
        _tell("the store can't be written: a copy of its database is served, and what you change there is lost")
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
def doctor(
    store: StoreArgument, rebuild: Annotated[bool, typer.Option("--rebuild", help="Make every view anew.")] = False
) -> None:
    """Check a store, and with --rebuild make its tables and databases anew from the journal."""
    from mlcompare.study.doctor import check_store, rebuild_views
    from mlcompare.study.interim import bring_up_to_date

    findings = check_store(store)
    for finding in findings:
        print(finding)
    if rebuild:
        print(rebuild_views(store))
        if any_result(store) and not bring_up_to_date(store):
            leave_report(store, None, Console(), anew=True)  # MLflow's page says the answer again
    elif any(finding.startswith("fault") for finding in findings):
        raise typer.Exit(1)
