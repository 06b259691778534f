"""Commands that show what is registered: list, show, losses, datasets and cite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from mlcompare.cli.app import app
from mlcompare.cli.kept_records import kept_records
from mlcompare.cli.options import Family, Format, PluginOption, print_records
from mlcompare.errors import InvalidValueError

if TYPE_CHECKING:
    from mlcompare.registry import LossSpec

__all__ = ["cite", "datasets", "list_kind", "losses", "show"]


@app.command()
def losses(
    name: Annotated[str | None, typer.Argument(help="One of them: its formula, hyperparameters and reference.")] = None,
    family: Annotated[Family | None, typer.Option(help="Only metric or only margin losses.")] = None,
    provider: Annotated[str | None, typer.Option(help="native, plugin, or pml (pytorch-metric-learning's).")] = None,
    format: Annotated[Format, typer.Option("--format", "-f")] = Format.table,
) -> None:
    """List the losses and the wrappers around them, or show one."""
    from mlcompare.report.listings import loss_page, loss_records, losses_table

    specs = _listed(family, provider) if name is None else [_spec(name)]
    if format is Format.table:
        Console().print(losses_table(specs) if name is None else loss_page(specs[0]))
    else:
        print_records(loss_records(specs), format)


def _listed(family: str | None, provider: str | None) -> list[LossSpec]:
    """Return the losses, sorted by name, then the wrappers."""
    from mlcompare.registry import LOSSES, WRAPPERS, list_losses
    from mlcompare.registry.registry import NATIVE, PLUGIN

    if provider not in (None, NATIVE, PLUGIN):
        return list_losses(family, provider=provider)
    kept = [*kept_records(LOSSES), *(kept_records(WRAPPERS) if family is None else ())]
    return [spec for spec in kept if family in (None, spec.family) and provider in (None, spec.provider)]


def _spec(name: str) -> LossSpec:
    """Return a wrapper or a loss."""
    from mlcompare.registry import LOSSES, WRAPPERS, get_spec

    kept = (spec for registry in (WRAPPERS, LOSSES) for spec in kept_records(registry))
    return next((spec for spec in kept if name in (spec.name, *spec.aliases)), None) or get_spec(name)


@app.command()
def cite(name: Annotated[str, typer.Argument(help="A loss, or a wrapper.")]) -> None:
    """Print the BibTeX entry of a loss or a wrapper."""
    spec = _spec(name)
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
        print_records(records, format)


@app.command("list")
def list_kind(
    kind: Annotated[str, typer.Argument(help="losses, datasets, encoders, metrics, samplers, …")],
    format: Annotated[Format, typer.Option("--format", "-f")] = Format.table,
    plugin: PluginOption = None,
) -> None:
    """List what is registered of a kind, with options and who provides it."""
    from mlcompare.kinds import registry_of
    from mlcompare.report.listings import record_rows, records_table

    registry = registry_of(kind)
    records = kept_records(registry)
    if format is Format.table:
        Console().print(records_table(registry.kind, records))
    else:
        print_records(record_rows(records), format)


@app.command()
def show(
    kind: Annotated[str, typer.Argument(help="losses, datasets, encoders, metrics, samplers, …")],
    name: Annotated[str, typer.Argument(help="Its name.")],
    format: Annotated[Format, typer.Option("--format", "-f")] = Format.table,
    plugin: PluginOption = None,
) -> None:
    """Show everything about one registered thing."""
    from mlcompare.kinds import registry_of
    from mlcompare.report.listings import loss_page, record_page, record_rows

    registry = registry_of(kind)
    record = _spec(name) if registry.kind == "loss" else registry[name]
    if format is not Format.table:
        print_records(record_rows([record]), format)
    else:
        own_page = registry.kind in ("loss", "wrapper")
        Console().print(loss_page(record) if own_page else record_page(registry.kind, record))
