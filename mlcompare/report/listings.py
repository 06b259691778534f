"""What is registered as text: a table of losses, a page for one, a table of datasets."""

from __future__ import annotations

import inspect
from typing import Any

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

__all__ = ["dataset_records", "datasets_table", "loss_page", "loss_records", "losses_table"]


def loss_records(specs: list[Any]) -> list[dict[str, Any]]:
    """Return one plain record for each spec."""
    return [
        {
            "name": spec.name,
            "family": spec.family,
            "kind": spec.kind,
            "provider": spec.provider,
            "summary": spec.summary,
            "reference": spec.reference,
            "aliases": list(spec.aliases),
            "term": spec.term,
            "batched": spec.batched,
            "stochastic": spec.stochastic,
            "broken": spec.broken,
            "hyperparameters": {name: _record(h) for name, h in spec.hyperparameters.items()},
            "options": {
                name: {"default": o.default, "choices": list(o.choices or ()), "description": o.description}
                for name, o in spec.options.items()
            },
            "published": [dict(setting) for setting in spec.published],
        }
        for spec in specs
    ]


def _record(h: Any) -> dict[str, Any]:
    names = ("symbol", "default", "low", "high", "log", "integer", "unit", "description")
    return {name: getattr(h, name) for name in names}


def losses_table(specs: list[Any]) -> Table:
    """Return the listing: name, family, kind, what is tuned, source."""
    table = Table("loss", "family", "kind", "tuned", "source", title=f"{len(specs)} losses", title_justify="left")
    for spec in specs:
        tuned = "  ".join(f"{name}={h.default:g}" for name, h in spec.hyperparameters.items() if h.searched)
        name = " = ".join([spec.name, *spec.aliases])
        reference = f"broken: {spec.broken}" if spec.broken else spec.reference
        table.add_row(escape(name), spec.family, spec.kind, escape(tuned), escape(reference))
    return table


def loss_page(spec: Any) -> Group:
    """Return everything about one loss: docstring, hyperparameters, options, published settings, source."""
    head = Text(f"{spec.name}  ({spec.family}, {spec.kind})", style="bold")
    parts: list[Any] = [head, Text(inspect.cleandoc(spec.doc) if spec.doc else "no description")]
    if spec.broken:
        parts.append(Text(f"broken: {spec.broken}", style="red"))
    if spec.hyperparameters:
        parts.append(_hyperparameters(spec))
    if spec.options:
        table = Table("option", "default", "choices", "what it is")
        for name, option in spec.options.items():
            choices = ", ".join(map(str, option.choices)) if option.choices else type(option.default).__name__
            table.add_row(name, str(option.default), choices, escape(option.description))
        parts.append(table)
    parts += [Text(f"published: {dict(setting)}") for setting in spec.published]
    parts.append(Text(f"source: {spec.reference}"))
    return Group(*parts)


def _hyperparameters(spec: Any) -> Table:
    table = Table("hyperparameter", "symbol", "default", "range", "unit", "what it is")
    for name, h in spec.hyperparameters.items():
        span = f"{h.low:g} – {h.high:g}{', log' if h.log else ''}{', whole' if h.integer else ''}" if h.searched else ""
        table.add_row(name, h.symbol or "", f"{h.default:g}", span or "fixed", h.unit or "", escape(h.description))
    return table


def dataset_records(specs: list[Any]) -> list[dict[str, Any]]:
    """Return one plain record for each spec; an option without a default has none."""
    empty = inspect.Parameter.empty
    return [
        {"name": s.name, "summary": s.summary, "options": {k: None if v is empty else v for k, v in s.options.items()}}
        for s in specs
    ]


def datasets_table(records: list[dict[str, Any]]) -> Table:
    """Return the listing: name, summary, options with their defaults."""
    table = Table("dataset", "what it is", "options")
    for record in records:
        shown = "  ".join(f"{k}={'needed' if v is None else v}" for k, v in record["options"].items())
        table.add_row(record["name"], record["summary"], escape(shown))
    return table
