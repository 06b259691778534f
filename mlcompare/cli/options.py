"""What several commands take."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = [
    "Family",
    "Format",
    "PluginOption",
    "ReportFormat",
    "StoreArgument",
    "StoreOption",
    "StudyArgument",
    "at_home",
    "print_records",
]


def _load_plugins(paths: list[Path] | None) -> list[Path]:
    """Run the plug-in files before the command looks anything up."""
    from mlcompare.execution.plugins import load_plugin

    for path in paths or []:
        load_plugin(path)
    return paths or []


def at_home(path: Path | list[Path] | None) -> Path | list[Path] | None:
    """Put the user's home folder in the place of `~`, which shells leave alone in quotes and after `=`."""
    if isinstance(path, list):
        return [each.expanduser() for each in path]
    return None if path is None else path.expanduser()


StudyArgument = Annotated[Path, typer.Argument(help="A study file, such as studies/quickstart.yaml.", callback=at_home)]
StoreArgument = Annotated[Path, typer.Argument(help="A store, such as runs/faces-quickstart.", callback=at_home)]
StoreOption = Annotated[
    Path | None, typer.Option("--store", help="Where to keep it (runs/<study name>).", callback=at_home)
]
PluginOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin", help="A Python file with your own losses, encoders, … (repeatable).", callback=_load_plugins
    ),
]


class Format(StrEnum):
    table = "table"
    json = "json"
    csv = "csv"


class ReportFormat(StrEnum):
    html = "html"
    markdown = "markdown"
    latex = "latex"


class Family(StrEnum):
    metric = "metric"
    margin = "margin"


def print_records(records: list[dict[str, Any]], format: Format) -> None:
    """Print plain records as JSON or CSV."""
    from mlcompare.report.records import records_csv, records_json

    print({Format.json: records_json, Format.csv: records_csv}[format](records).rstrip("\n"))
