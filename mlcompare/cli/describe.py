"""The commands that say what a study file may hold: keys and schema."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console

from mlcompare.cli.app import app
from mlcompare.cli.options import Format, PluginOption, print_records
from mlcompare.errors import UnknownNameError, did_you_mean

__all__ = ["keys", "schema"]


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


@app.command()
def keys(
    section: Annotated[
        str | None, typer.Argument(help="Only this section or key, such as `training` or `search.trials`.")
    ] = None,
    format: Annotated[Format, typer.Option("--format", "-f")] = Format.table,
    plugin: PluginOption = None,
) -> None:
    """List every key of a study file: what it takes, its default, its unit and what it is."""
    from mlcompare.report.listings import keys_table
    from mlcompare.study.keys import study_keys

    records = study_keys()
    if section is not None:
        names = [record["key"] for record in records]
        records = [record for record in records if f"{record['key']}.".startswith(f"{section.rstrip('.')}.")]
        if not records:
            raise UnknownNameError(f"no key {section!r}", cure=did_you_mean(section, names), place="keys")
    if format is Format.table:
        Console().print(keys_table(records))
    else:
        print_records(records, format)
