"""JSON Schema of single values: names of registered things, their options, and numbers that are fixed or searched."""

from __future__ import annotations

import inspect
import math
from typing import Any

from mlcompare.registry import REGISTRIES, HyperparameterSpec, OptionSpec, Record

__all__ = ["Schema", "dimension", "names_of", "option", "options", "usable"]

Schema = dict[str, Any]
NUMBERS = {"k": "[1-9][0-9]*", "far": "[0-9][0-9.]*([eE][+-]?[0-9]+)?"}  # what may stand in a metric's name
EXAMPLES = {"k": "10", "far": "1e-3"}


def usable(kind: str) -> list[Any]:
    """Return the records of a kind, plug-ins that are broken left out."""
    return [record for record in REGISTRIES[kind].records() if record.broken is None]


def names_of(kind: str) -> Schema:
    """Return the schema of a text that names something registered."""
    records = usable(kind)
    numbered = [record for record in records if getattr(record, "number", None)]
    whole = [name for record in records if record not in numbered for name in (record.name, *record.aliases)]
    # of the groups of a level, and of the first coordinates alone
    first = f"(_level_[A-Za-z][A-Za-z0-9_]*)?(_in_{NUMBERS['k']})?" if kind == "metrics" else ""
    ways = [_like(f"^{r.name}_{NUMBERS[r.number]}{first}$", f"{r.name}_{EXAMPLES[r.number]}") for r in numbered]
    if first:
        cut = [r.name for r in records if r not in numbered and r.group != "closed_set"]
        ways.append(_like(f"^({'|'.join(cut)}){first}$", f"{cut[0]}_in_16"))
    if kind == "encoders":
        ways += [_like(f"^{family.name}:.+", f"{family.name}:<model>") for family in usable("encoder_families")]
    if not ways:
        return {"enum": whole} if whole else {"not": {}}
    return {"anyOf": [{"enum": whole}, *ways]}


def _like(pattern: str, example: str) -> Schema:
    return {"type": "string", "pattern": pattern, "examples": [example]}


def option(default: Any) -> Schema:
    """Return the schema of an option by its default; one that is needed, or None, takes anything.

    >>> option((64, 64)), option(False), option(None)
    ({'type': ['array', 'number'], 'default': [64, 64]}, {'type': 'boolean', 'default': False}, {})
    """
    if default is None or default is inspect.Parameter.empty:
        return {}
    kinds = {bool: "boolean", int: "number", float: "number", str: "string", tuple: ["array", "number"]}
    plain = list(default) if isinstance(default, tuple) else default
    return {"type": kinds[type(default)], "default": plain} if type(default) in kinds else {}


def options(record: Record) -> Schema:
    """Return what may, and what must stand beside the name of ``record``."""
    needed = [name for name, default in record.options.items() if default is inspect.Parameter.empty]
    return {"properties": {name: option(default) for name, default in record.options.items()}, "required": needed}


def dimension(declaration: HyperparameterSpec | OptionSpec, description: str = "") -> Schema:
    """Return the schema of what a study file may say of a declared number or choice: fixed, a list, or a range.

    ``description`` stands in for the declaration's where it has none.

    >>> dimension(OptionSpec("all", ("all", "hard")))["anyOf"][0]
    {'enum': ['all', 'hard']}
    """
    single = _number(declaration) if isinstance(declaration, HyperparameterSpec) else _choice(declaration)
    ways = [single, {"type": "array", "items": single, "minItems": 1, "uniqueItems": True}]
    if isinstance(declaration, HyperparameterSpec):
        number = {"type": "number"}
        bounds = {"low": number, "high": number, "log": {"type": "boolean"}, "default": number}
        needed = [] if declaration.searched else ["low", "high"]
        ways.append({"type": "object", "properties": bounds, "required": needed, "additionalProperties": False})
    default = {} if declaration.default is None else {"default": declaration.default}
    return {"description": _described(declaration, description), **default, "anyOf": ways}


def _number(declaration: HyperparameterSpec) -> Schema:
    ends = {"minimum": declaration.minimum, "maximum": declaration.maximum}
    found = {key: value for key, value in ends.items() if value is not None and math.isfinite(value)}
    above = {"exclusiveMinimum": 0} if declaration.positive else {}
    return {"type": "integer" if declaration.integer else "number", **found, **above}


def _choice(declaration: OptionSpec) -> Schema:
    if declaration.choices is not None:
        return {"enum": list(declaration.choices)}
    if type(declaration.default) is int:
        return {"type": "integer", "minimum": 1}
    return {key: value for key, value in option(declaration.default).items() if key == "type"}


def _described(declaration: HyperparameterSpec | OptionSpec, instead: str) -> str:
    """Return symbol, description, unit and range in a line."""
    parts = [declaration.symbol or "", declaration.description or instead]
    if isinstance(declaration, HyperparameterSpec):
        parts.append(f"in {declaration.unit}" if declaration.unit else "")
        scale = " on a logarithmic scale" if declaration.log else ""
        parts.append(
            f"searched from {declaration.low:g} to {declaration.high:g}{scale}" if declaration.searched else ""
        )
    return "; ".join(part for part in parts if part)
