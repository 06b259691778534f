"""A name has one meaning, whoever uses it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import mlcompare

HOUSE = Path(mlcompare.__file__).parent
KNOW_SETTINGS = (
    "search",
    "study",
    "comparison",
    "report",
    "tracking",
    "challenge",
)  # rooms that know where a setting comes from


def names(path: Path) -> set[str]:
    """Every variable, argument and attribute of a module, and its own name."""
    found = {path.stem}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        found |= {getattr(node, key) for key in ("id", "arg", "attr") if isinstance(getattr(node, key, None), str)}
    return found


@pytest.mark.parametrize("room", sorted(path.name for path in HOUSE.iterdir() if path.name not in KNOW_SETTINGS))
def test_source_says_where_a_setting_comes_from(room) -> None:
    path = HOUSE / room
    modules = path.rglob("*.py") if path.is_dir() else [path] if path.suffix == ".py" else []
    assert [str(module) for module in modules if {"source", "sources"} & names(module)] == []
