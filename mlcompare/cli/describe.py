"""The command that says what a study file may hold: schema."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console

from mlcompare.cli.app import app
from mlcompare.cli.options import Format, PluginOption, print_records

__all__ = ["schema"]


@app.command()
def schema(
    format: Annotated[
        Format, typer.Option("--format", "-f", help="json: a JSON Schema, for editors. table, csv: a list of the keys.")
    ] = Format.json,
    plugin: PluginOption = None,
) -> None:
    """Print what a study file may hold: every key with its type, range, default and meaning."""
    from mlcompare.report.listings import keys_table
    from mlcompare.study.keys import study_keys
    from mlcompare.study.schema import study_schema

    if format is Format.json:
        print(json.dumps(study_schema(), ensure_ascii=False, indent=1))
    elif format is Format.table:
        Console().print(keys_table(study_keys()))
    else:
        print_records(study_keys(), format)
