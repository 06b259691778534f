"""Read a study file: YAML as data, strictly."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from mlcompare.data.hints import hint
from mlcompare.errors import StudyFileError

__all__ = ["read_yaml"]

MAX_BYTES, MAX_DEPTH = 1 << 20, 20

_NUMBER = re.compile(
    r"""^(?:[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"""
)


class _Loader(yaml.SafeLoader):
    """YAML 1.2's scalars: ``1e-3`` is a number, ``off`` is text, no dates, no octal, no sexagesimal."""


_Loader.yaml_implicit_resolvers = {}
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF")
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]+$"), "-+0123456789")
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBER, "-+.0123456789")


def _int(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node)
    if len(text) > 30:
        raise yaml.constructor.ConstructorError(None, None, "a number has at most 30 digits", node.start_mark)
    return int(text)  # decimal, leading zeros included


_Loader.add_constructor("tag:yaml.org,2002:int", _int)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Raises:
        StudyFileError: the file is missing, too large, not UTF-8, not YAML, no mapping, nested deeper than 20 levels,
            or has duplicate keys, keys that are not text, aliases or tags.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise StudyFileError(f"a study file has at most {MAX_BYTES} bytes", value=str(size), place=str(path))
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        cure = "check the path, or start from studies/quickstart.yaml"
        raise StudyFileError(
            "the file must exist", value="none there", cure=hint(path) or cure, place=str(path)
        ) from None
    except UnicodeDecodeError:
        raise StudyFileError("a study file is UTF-8 text", value="other bytes", place=str(path)) from None
    except OSError as error:
        raise StudyFileError("the file must be readable", value=error.strerror, place=str(path)) from None
    return _parse(text, str(path))


def _parse(text: str, place: str) -> dict[str, Any]:
    try:
        loader = _Loader(text)
        try:
            _refuse_aliases_and_depth(text, place)
            node = loader.get_single_node()
            if not isinstance(node, yaml.MappingNode):
                kind = "sequence" if isinstance(node, yaml.SequenceNode) else "scalar"
                got = "nothing" if node is None else f"a {kind}"
                raise StudyFileError("a study file is a mapping", value=got, cure="start with `name: …`", place=place)
            _refuse_duplicates(node, place, "")
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{place}:{mark.line + 1}:{mark.column + 1}" if mark else place
        problem = getattr(error, "problem", None) or "it can't be parsed"
        raise StudyFileError("a study file is valid YAML", value=str(problem), place=where) from None
    except StudyFileError:
        raise
    except (ValueError, RecursionError) as error:
        raise StudyFileError("a study file is valid YAML", value=str(error).splitlines()[0], place=place) from None


def _refuse_aliases_and_depth(text: str, place: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        where = f"{place}:{event.start_mark.line + 1}" if event.start_mark else place
        if isinstance(event, yaml.AliasEvent):
            raise StudyFileError("a study file has no aliases", value=f"*{event.anchor}", place=where)
        tag = getattr(event, "tag", None)
        if tag is not None and not isinstance(event, yaml.DocumentStartEvent):
            raise StudyFileError("a study file has no tags", value=str(tag), place=where)
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise StudyFileError(f"a study file nests at most {MAX_DEPTH} levels", value="more", place=where)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            depth -= 1


def _refuse_duplicates(node: yaml.Node, place: str, path: str) -> None:
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            _refuse_duplicates(item, place, f"{path}[{number}]")
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise StudyFileError("keys are text", value=f"a {key.id}", place=f"{place}:{line}")
        name = f"{path}.{key.value}" if path else key.value
        if key.value in seen:
            got = f"it stands in lines {seen[key.value]} and {line}"
            raise StudyFileError("a key stands once", value=got, cure="remove one", place=f"{place}: {name}")
        if key.tag != "tag:yaml.org,2002:str":
            raise StudyFileError("keys are text", value=key.value, cure="put it in quotes", place=f"{place}: {name}")
        seen[key.value] = line
        _refuse_duplicates(value, place, name)
