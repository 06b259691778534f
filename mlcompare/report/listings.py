"""What is registered as text: a table of losses, a page for one, a table of datasets."""

from __future__ import annotations

import inspect
import json
from typing import Any

from rich.console import Group
from rich.table import Column, Table
from rich.text import Text

from mlcompare.registry import FIRST_COMPARISON, IDEAS
from mlcompare.report.docstrings import plain

__all__ = [
    "dataset_records", "datasets_table", "keys_table", "loss_page", "loss_records", "losses_table", "record_page",
    "record_rows", "records_table",
]  # fmt: skip


def _table(*headers: str, **options: Any) -> Table:
    """Return a table whose words are broken where they don't fit, never cut."""
    return Table(*(Column(header, overflow="fold") for header in headers), **options)


def loss_records(specs: list[Any]) -> list[dict[str, Any]]:
    """Return one plain record for each spec."""
    return [
        {
            "name": spec.name,
            "family": spec.family,
            "group": spec.group,
            "idea": IDEAS.get(spec.group, spec.group),
            "year": spec.year,
            "venue": spec.venue,
            "first_comparison": spec.name in FIRST_COMPARISON,
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
            "published": [{**setting, "source": _source(spec, setting)} for setting in spec.published],
        }
        for spec in specs
    ]


def _record(h: Any) -> dict[str, Any]:
    names = ("symbol", "default", "low", "high", "log", "integer", "unit", "description")
    return {name: getattr(h, name) for name in names}


def losses_table(specs: list[Any]) -> Table:
    """Return the listing, by idea and year: name, family, year, where it is from, what is tuned."""
    note = "* ten for a first comparison" if any(spec.name in FIRST_COMPARISON for spec in specs) else None
    count = sum(spec.group != "wrapper" for spec in specs)
    table = _table("loss", "family", "year", "from", "tuned", title=f"{count} losses", title_justify="left")
    table.caption, table.caption_justify = note, "left"
    for idea in [*IDEAS, *sorted({spec.group for spec in specs} - set(IDEAS))]:
        some = [spec for spec in specs if spec.group == idea]
        if some:
            table.add_section()
            table.add_row(Text(IDEAS.get(idea, idea or "others"), style="bold"))
        for spec in sorted(some, key=lambda spec: (spec.year or 0, spec.name)):
            tuned = "  ".join(_short(name, h) for name, h in spec.hyperparameters.items() if h.searched)
            name = " = ".join([spec.name + "*" * (spec.name in FIRST_COMPARISON), *spec.aliases])
            known = spec.venue if spec.year and spec.venue else spec.reference
            where = f"broken: {spec.broken}" if spec.broken else known
            table.add_row(Text(name), spec.family, str(spec.year or ""), Text(where), Text(tuned))
    return table


def _short(name: str, spec: Any) -> str:
    """A hyperparameter with its symbol, default and unit: `margin m=0.5 rad`."""
    told = _valued(name, spec, spec.default)
    return f"{name} {told}" if spec.symbol else told


def _valued(name: str, spec: Any, value: float) -> str:
    """A value under its symbol, with its unit: `m=0.5 rad`."""
    return f"{spec.symbol or name}={value:.4g}{f' {spec.unit}' if spec.unit else ''}"


def _source(spec: Any, setting: Any) -> str:
    """Who reports a setting: the work that a loss is from, unless it says another."""
    return str(getattr(setting, "reference", spec.reference))


def _published(spec: Any) -> list[Text]:
    """The settings that others report, a line for each source."""
    by_source: dict[str, list[str]] = {}
    for setting in spec.published:
        told = ", ".join(_valued(name, spec.hyperparameters[name], value) for name, value in setting.items())
        by_source.setdefault(_source(spec, setting), []).append(told)
    return [Text(f"published: {'; '.join(told)}  ({source})") for source, told in by_source.items()]


def loss_page(spec: Any) -> Group:
    """Return everything about one loss: docstring, hyperparameters, options, published settings, reference."""
    facts = (spec.family, IDEAS.get(spec.group, spec.group), spec.venue, spec.year)
    where = ", ".join(str(fact) for fact in facts if fact)
    head = Text(f"{spec.name}  ({where})", style="bold")
    parts: list[Any] = [head, Text(plain(spec.doc) if spec.doc else "no description")]
    if spec.broken:
        parts.append(Text(f"broken: {spec.broken}", style="red"))
    if spec.hyperparameters:
        parts.append(_hyperparameters(spec))
    if spec.options:
        table = _table("option", "default", "choices", "what it is")
        for name, option in spec.options.items():
            choices = ", ".join(map(str, option.choices)) if option.choices else type(option.default).__name__
            table.add_row(Text(name), Text(str(option.default)), Text(choices), Text(option.description))
        parts.append(table)
    parts += _published(spec)
    parts.append(Text(f"reference: {spec.reference}"))
    return Group(*parts)


def _hyperparameters(spec: Any) -> Table:
    table = _table("hyperparameter", "symbol", "default", "range", "unit", "what it is")
    for name, h in spec.hyperparameters.items():
        span = f"{h.low:g} – {h.high:g}{', log' if h.log else ''}{', whole' if h.integer else ''}" if h.searched else ""
        table.add_row(Text(name), h.symbol or "", f"{h.default:g}", span or "fixed", h.unit or "", Text(h.description))
    return table


def dataset_records(specs: list[Any]) -> list[dict[str, Any]]:
    """Return one plain record for each spec: its options with their defaults, and which ones are needed."""
    empty = inspect.Parameter.empty
    return [
        {
            "name": s.name,
            "summary": s.summary,
            "options": {key: None if value is empty else value for key, value in s.options.items()},
            "needed": [key for key, value in s.options.items() if value is empty],
        }
        for s in specs
    ]


def datasets_table(records: list[dict[str, Any]]) -> Table:
    """Return the listing: name, summary, options with their defaults."""
    table = _table("dataset", "what it is", "options")
    for record in records:
        needed = record["needed"]
        shown = "  ".join(f"{k}={'needed' if k in needed else v}" for k, v in record["options"].items())
        table.add_row(Text(record["name"]), Text(record["summary"]), Text(shown))
    return table


def keys_table(records: list[dict[str, Any]]) -> Table:
    """Return the keys of a study file: what each takes with its unit, its default, and what it means."""
    table = _table("key", "what it takes (unit)", "default", "what it is")
    table.columns[0].no_wrap = True  # a key is copied
    for record in records:
        default = record["default"]
        shown = default if isinstance(default, str) else "" if default is None else json.dumps(default)
        takes = f"{record['takes']} ({record['unit']})" if record["unit"] else record["takes"]
        table.add_row(*(Text(text) for text in (record["key"], takes, shown, record["description"])))
    return table


FACTS = ("takes", "embedding_dim", "batched", "group", "number", "unit", "low", "high", "higher_is_better", "fitted")


def _facts(record: Any) -> dict[str, Any]:
    """What a record says beyond what all have."""
    facts = {name: getattr(record, name) for name in FACTS if getattr(record, name, None) not in (None, "")}
    return {name: str(value) if value in (float("inf"), float("-inf")) else value for name, value in facts.items()}


def _told(record: Any) -> list[str]:
    """The same in words, for a table: a metric's group, unit, bounds and direction."""
    facts = _facts(record)
    low, high, better = (facts.pop(name, None) for name in ("low", "high", "higher_is_better"))
    told = [str(value) if name in ("group", "unit") else f"{name}={value}" for name, value in facts.items()]
    if low is not None and high is not None:
        told.append(f"{low:g} to {high:g}" if high != "inf" and low != "-inf" else f"from {low}")
    return told if better is None else [*told, f"{'higher' if better else 'lower'} is better"]


def _default(option: Any) -> str:
    value = getattr(option, "default", option)
    return "needed" if value is inspect.Parameter.empty else str(value)


def record_rows(records: list[Any]) -> list[dict[str, Any]]:
    """Return one plain record for each registered thing, whatever its kind."""
    return [
        {
            "name": record.name,
            "provider": record.provider,
            "summary": record.summary,
            "reference": record.reference,
            "options": {name: _default(option) for name, option in record.options.items()},
            "broken": record.broken,
            **_facts(record),
        }
        for record in records
    ]


def records_table(kind: str, records: list[Any]) -> Table:
    """Return the listing of a kind: name, what it is, options with defaults, facts, provider."""
    table = _table(kind, "what it is", "options", "provider")
    for record in records:
        given = {name: _default(option) for name, option in record.options.items()}
        facts = [f"{name}={value}" for name, value in given.items()] + _told(record)
        what = f"broken: {record.broken}" if record.broken else record.summary
        table.add_row(Text(record.name), Text(what), Text(", ".join(facts)), record.provider)
    return table


def record_page(kind: str, record: Any) -> Group:
    """Return everything about one registered thing."""
    parts: list[Any] = [Text(f"{record.name}  ({kind}, {record.provider})", style="bold")]
    parts.append(Text(plain(record.doc) if record.doc else "no description"))
    if record.broken:
        parts.append(Text(f"broken: {record.broken}", style="red"))
    rows = {**_facts(record), **{name: _default(option) for name, option in record.options.items()}}
    if rows:
        table = _table("option or fact", "value")
        for name, value in rows.items():
            table.add_row(Text(name), Text(str(value)))
        parts.append(table)
    if record.reference:
        parts.append(Text(f"reference: {record.reference}"))
    return Group(*parts)
