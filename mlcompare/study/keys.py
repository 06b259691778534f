"""Every key of a study file with what it takes, its default and what it means: the schema as a list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlcompare.study.schema import study_schema
from mlcompare.study.schema_values import Schema

__all__ = ["study_keys"]

KINDS = {"number": "a number", "integer": "a whole number", "string": "text", "boolean": "true or false", "null": ""}
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def study_keys() -> list[dict[str, Any]]:
    """Return one record for each key: ``key, takes, default, unit, description``; options that are named have none.

    >>> [record["takes"] for record in study_keys() if record["key"] == "protocol.folds"]
    ['a whole number ≥ 2 and ≤ 100']
    """
    schema = study_schema()
    return list(_keys(schema, schema, ""))


def _keys(node: Schema, whole: Schema, before: str) -> Iterator[dict[str, Any]]:
    needed = node.get("required", [])
    for name, value in node.get("properties", {}).items():
        key, section = f"{before}{name}", _section(value, whole)
        default = "needed" if name in needed else None if section else value.get("default")
        takes = _takes(value, whole)
        told = {"unit": value.get("unit", ""), "description": value.get("description", "")}
        yield {"key": key, "takes": takes, "default": default, **told}
        if section and key != "losses":
            yield from _keys(section, whole, f"{key}.")


def _resolved(node: Schema, whole: Schema) -> Schema:
    """Follow a reference."""
    for part in node["$ref"].removeprefix("#/").split("/") if "$ref" in node else []:
        whole = whole[part]
    return whole if "$ref" in node else node


def _section(node: Schema, whole: Schema) -> Schema | None:
    """Return the keys below a key, None where there are none."""
    ways = [_resolved(way, whole) for way in node.get("anyOf", [node])]
    return next((way for way in ways if "properties" in way and "low" not in way["properties"]), None)


def _takes(node: Schema, whole: Schema) -> str:
    """Say in words what a schema lets through."""
    if "anyOf" in node:
        first, *others = node["anyOf"]
        told = (_takes(way, whole) if way.get("items") != first else "a list of such" for way in others)
        return ", or ".join(filter(None, (_takes(first, whole), *told)))
    node = _resolved(node, whole)
    if "enum" in node:
        return ", ".join("none" if value is None else str(value).lower() if value in (True, False) else str(value)
                         for value in node["enum"])  # fmt: skip
    if "const" in node:
        return str(node["const"])
    if "examples" in node:
        return f"a name like {node['examples'][0]}"
    if node.get("type") == "array":
        return f"a list of: {_takes(node.get('items', {}), whole)}"
    if "properties" in node or node.get("type") == "object":
        below = node.get("properties", {})
        return f"{{{', '.join(below)}}}" if "low" in below else "a section"
    bounds = " and ".join(f"{sign} {node[key]}" for key, sign in BOUNDS.items() if key in node)
    return f"{KINDS.get(node.get('type', ''), 'anything')} {bounds}".strip()
