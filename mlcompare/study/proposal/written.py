"""A proposal as a study file that a newcomer can read: every key with its reason."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from mlcompare.registry import get_spec
from mlcompare.study.proposal.propose import Proposal

__all__ = ["study_text"]

WIDTH = 118
PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./@?% -]*[A-Za-z0-9_./@?-]|[A-Za-z/]")  # text that needs no quotes
WORDS = {"true", "false", "null"}
SECTIONS = {  # what stands above each
    "dataset": "the data",
    "protocol": "who trains, who validates, and who is sealed until the end",
    "encoder": "images or features → embeddings: trained anew by every training",
    "training": "how every loss is trained alike",
    "search": "the budget, the same for every loss",
    "final": "the selected and the default setting of each loss, trained again and tested on what was sealed",
}
FAMILIES = {
    "metric": "metric losses compare samples with samples",
    "margin": "margin losses classify with class weights",
}


def study_text(proposal: Proposal, seen: Sequence[str], file: str, *, schema: str | None = None) -> str:
    """Return the study file, commented.

    Args:
        seen: what was seen of the data, a sentence each.
        file: the name of the study file, for the commands that it shows.
        schema: the address of the JSON Schema, for editors.
    """
    study, why = proposal.study, proposal.why
    lines = [f"# yaml-language-server: $schema={schema}"] if schema else []
    lines += [
        "# Proposed by `mlcompare init`. Every line may be changed:",
        f"#   mlcompare check {file}   prints the plan, and how long it will take",
        f"#   mlcompare run {file}     runs it, and prints which loss leads",
        "#   mlcompare keys               lists every key of a study file",
        "#",
        "# What was seen of the data:",
        *(line for sentence in seen for line in _wrapped(sentence)),
        "",
    ]
    for key in ("name", "question", "decision_rule"):
        reason = "what counts as an answer, written before the run" if key == "decision_rule" else ""
        lines += _entry(key, study[key], reason, "")
    for key, told in SECTIONS.items():
        lines += ["", f"# {told}", f"{key}:"]
        for name, value in study[key].items():
            lines += _entry(name, value, why.get(f"{key}.{name}", ""), "  ")
    lines += ["", *_losses(study["losses"], why.get("budget", ""))]
    return "\n".join(lines) + "\n"


def _losses(losses: Mapping[str, Any], budget: str) -> Iterator[str]:
    yield f"# {_printable(budget)}"
    yield "# `mlcompare losses` lists all, `mlcompare losses arcface` what one is and what is searched of it"
    yield "losses:"
    for family, told in FAMILIES.items():
        mine = [name for name in losses if get_spec(name).family == family]
        yield from [f"  # {told}"] * bool(mine)
        yield from (f"  {name}:" for name in mine)


def _entry(key: str, value: Any, reason: str, indent: str) -> list[str]:
    """A key with its reason, which stands beside it where there is room, else above."""
    line = f"{indent}{key}: {_value(value)}"
    if not reason:
        return [line]
    beside = f"{line:<34}  # {_printable(reason)}"
    if len(beside) <= WIDTH:
        return [beside]
    return [*(f"{indent}# {part}" for part in textwrap.wrap(_printable(reason), WIDTH - len(indent) - 2)), line]


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_value(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(inner) for inner in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _text(value) if isinstance(value, str) else repr(value)


def _text(value: str) -> str:
    """Text as YAML reads it back: in quotes where it might be read as something else.

    >>> _text("photos/of cats"), _text("1e3"), _text("a: b")
    ('photos/of cats', '"1e3"', '"a: b"')
    """
    if PLAIN.fullmatch(value) and value.lower() not in WORDS:
        return value
    return yaml.dump(value, default_style='"', allow_unicode=True, width=float("inf")).rstrip("\n")


def _wrapped(sentence: str) -> list[str]:
    return textwrap.wrap(_printable(sentence), WIDTH, initial_indent="#   ", subsequent_indent="#     ")


def _printable(text: str) -> str:
    """Text for a comment: in one line, without what YAML forbids."""
    return "".join(sign if sign.isprintable() else "?" for sign in " ".join(text.split()))
