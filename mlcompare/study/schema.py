"""The JSON Schema of study files, from the models that read them and from what is registered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mlcompare.data import PRESETS
from mlcompare.losses.sums import TERM_WEIGHT
from mlcompare.registry import LossSpec, Record, list_losses
from mlcompare.search.training_space import training_dimensions
from mlcompare.study.config import StudyConfig
from mlcompare.study.schema_values import Schema, dimension, names_of, options, usable
from mlcompare.training.searched import AUGMENT

__all__ = ["study_schema"]

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def study_schema() -> Schema:
    """Return the JSON Schema of study files: every key with its description, range, default and registered names.

    It tells a wrong key, type or value before a study is launched; what only the data can tell (that a batch can be
    drawn, that a file is there), ``mlcompare check`` does.

    >>> study_schema()["properties"]["search"]["description"]
    'the budget, the same for every loss'
    """
    schema = _told(StudyConfig.model_json_schema())
    definitions = schema["$defs"]
    for section in ("DatasetSection", "TrainerSection", "EncoderSection", "HeadSection"):
        del definitions[section]["additionalProperties"]
    definitions["DatasetSection"] |= _beside_names(usable("datasets"))
    definitions["TrainerSection"] |= _beside_names(usable("trainers"))
    for section, default in (("EncoderSection", "conv4"), ("HeadSection", "linear")):
        definitions[section] |= _beside_names(usable("encoders"), usable("encoder_families"), default=default)
    training, space = definitions["TrainingConfig"]["properties"], definitions["SearchConfig"]["properties"]["space"]
    training["augment"]["anyOf"] = [{"enum": list(PRESETS)}, _augmentations()]
    definitions["dimensions"] = {"properties": _dimensions(definitions)}
    space |= {"$ref": "#/$defs/dimensions", "unevaluatedProperties": False}
    del space["additionalProperties"]
    definitions |= _entries()
    schema["properties"]["losses"] |= {"$ref": "#/$defs/losses", "minProperties": 1}
    del schema["properties"]["losses"]["additionalProperties"]
    return {"$schema": DRAFT, **schema, "title": "mlcompare study file"}


def _told(node: Any, *, of_keys: bool = False) -> Any:
    """Return a model's schema with the names that are registered, and without titles and docstrings."""
    if isinstance(node, list):
        return [_told(item) for item in node]
    if not isinstance(node, dict):
        return node
    plain = {
        key: _told(value, of_keys=key in ("properties", "$defs"))
        for key, value in node.items()
        if of_keys or not (key in ("title", "registered") or (key == "description" and "properties" in node))
    }
    return plain | names_of(node["registered"]) if "registered" in node and not of_keys else plain


def _beside_names(records: Sequence[Record], families: Sequence[Record] = (), *, default: str | None = None) -> Schema:
    """Return the options that may stand beside each name, and the names alone that need none."""
    cases = []
    for record in records:
        named: Schema = {"properties": {"name": {"enum": [record.name, *record.aliases]}}}
        needed = {} if record.name == default else {"required": ["name"]}
        cases.append({"if": named | needed, "then": options(record)})
    for family in families:
        named = {"properties": {"name": {"type": "string", "pattern": f"^{family.name}:"}}, "required": ["name"]}
        cases.append({"if": named, "then": options(family)})
    return {"allOf": cases or [True], "unevaluatedProperties": False}


def _augmentations() -> Schema:
    strengths: Schema = {"preset": {"description": "whose strengths stand for those left out", "enum": list(PRESETS)}}
    for record in usable("augmentations"):
        ends = {"minimum": record.low, "maximum": record.high}
        bounds = {key: value for key, value in ends.items() if math.isfinite(value)}
        strengths[record.name] = {"type": "number", "description": record.unit, **bounds}
    return {"type": "object", "properties": strengths, "additionalProperties": False}


def _dimensions(definitions: Schema) -> Schema:
    """Return what of the training may be searched, for every loss or in the entry of one."""
    training, augment = definitions["TrainingConfig"]["properties"], _augmentations()["properties"]
    known = {**training, **{f"{AUGMENT}{name}": strength for name, strength in augment.items()}}
    known["embedding_dim"] = definitions["EncoderSection"]["properties"]["embedding_dim"]
    return {
        name: dimension(declaration, known[name]["description"]) for name, declaration in training_dimensions().items()
    }


def _entries() -> Schema:
    """Return the definitions of ``losses:``: a registered name, or a name of one's own for whatever may be trained."""
    specs = {name: spec for spec in _losses() for name in (spec.name, *spec.aliases)}
    alone = {name: spec for name, spec in specs.items() if not spec.term}
    wrappers = usable("wrappers")
    found: Schema = {_key("loss", spec): _numbers(spec) for spec in specs.values()}
    found |= {_key("entry", spec): _alone(spec) for spec in alone.values()}
    found |= {_key("wrapper", spec): _numbers(spec, "wrapper") for spec in wrappers}
    share = {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": 1.0}
    places: dict[str, tuple[dict[str, LossSpec], Schema]] = {  # where a loss may stand, and what is said of it there
        "in_sum": (specs, {"weight": dimension(TERM_WEIGHT)}),
        "in_stages": (alone, {"share": share}),
        "inside": (alone, {}),
    }
    for place, (losses, extra) in places.items():
        one = _chosen({name: _part(spec, extra) for name, spec in losses.items()})
        nested = [_within({"sum": _terms("in_sum")}, extra)]
        nested += [_within({spec.name: _ref("inside")}, extra, _ref(_key("wrapper", spec))) for spec in wrappers]
        found[place] = {"anyOf": [one, *nested]}
    found["loss"] = _chosen({name: _ref(_key("entry", spec)) for name, spec in alone.items()})
    forms: Schema = {"sum": _within({"sum": _terms("in_sum")}, {}, _ref("dimensions"))}
    forms["stages"] = _within({"stages": _terms("in_stages")}, {}, _ref("dimensions"))
    for spec in wrappers:
        forms[spec.name] = _within({spec.name: _ref("inside")}, {}, _ref(_key("wrapper", spec)), _ref("dimensions"))
    found |= {f"form.{name}": form for name, form in forms.items()}
    own = [_ref("loss"), *(_ref(f"form.{name}") for name in forms)]
    lines = {name: {"anyOf": [{"type": "null"}, _ref(_key("entry", spec)), *own]} for name, spec in alone.items()}
    return found | {"losses": {"type": "object", "properties": lines, "additionalProperties": {"anyOf": own}}}


def _terms(place: str) -> Schema:
    return {"type": "array", "minItems": 2, "items": _ref(place)}


def _within(form: Schema, extra: Schema, *beside: Schema) -> Schema:
    """Return what has the key of a form, and beside it nothing but ``extra`` and what is in ``beside``."""
    found = {"type": "object", "required": list(form), "properties": {**form, **extra}, "unevaluatedProperties": False}
    return found | ({"allOf": list(beside)} if beside else {})


def _ref(definition: str) -> Schema:
    return {"$ref": f"#/$defs/{definition}"}


def _key(kind: str, spec: LossSpec) -> str:
    return f"{kind}.{spec.name.replace('/', '.')}"


def _losses() -> list[LossSpec]:
    return [spec for spec in (*list_losses(), *list_losses(provider="pml")) if spec.broken is None]


def _numbers(spec: LossSpec, kind: str = "loss") -> Schema:
    """Return the hyperparameters and options of a loss (or a wrapper), by name and by symbol."""
    known = {**spec.hyperparameters, **spec.options}
    found: Schema = {name: {"anyOf": [dimension(it), {"type": "null"}]} for name, it in known.items()}
    pairs = []
    for name, declaration in known.items():
        symbol = declaration.symbol
        if symbol and symbol not in known and [it.symbol for it in known.values()].count(symbol) == 1:
            found[symbol] = {"description": name, **_ref(f"{_key(kind, spec)}/properties/{name}")}
            pairs.append({"not": {"required": [name, symbol]}})
    described = {"description": spec.doc.strip().partition("\n")[0], "type": "object", "properties": found}
    return described | ({"allOf": pairs} if pairs else {})


def _alone(spec: LossSpec) -> Schema:
    """Return an entry of one loss: its numbers, and those of the training that it may override."""
    own, searchable = {*spec.hyperparameters, *spec.options}, training_dimensions()
    loss: Schema = {"loss": {"enum": [spec.name, *spec.aliases]}}
    if own.isdisjoint(searchable):
        parts = [_ref(_key("loss", spec)), _ref("dimensions")]
    else:  # a name that both have is the loss's
        parts = [_ref(_key("loss", spec))]
        loss |= {name: _ref(f"dimensions/properties/{name}") for name in searchable if name not in own}
    return {"type": "object", "properties": loss, "allOf": parts, "unevaluatedProperties": False}


def _part(spec: LossSpec, extra: Schema) -> Schema:
    """Return a loss inside another: its numbers, and whatever of ``extra`` it has no number of that name for."""
    own = {*spec.hyperparameters, *spec.options}
    properties = {"loss": True} | {key: schema for key, schema in extra.items() if key not in own}
    return {**_ref(_key("loss", spec)), "properties": properties, "unevaluatedProperties": False}


def _chosen(cases: Mapping[str, Schema]) -> Schema:
    """Return an entry that says which loss it is of."""
    found = [{"if": {"properties": {"loss": {"const": name}}}, "then": case} for name, case in cases.items()]
    return {"type": "object", "required": ["loss"], "properties": {"loss": {"enum": list(cases)}}, "allOf": found}
