"""The JSON Schema of study files says yes and no where the reader does."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from mlcompare.errors import MLCompareError
from mlcompare.registry import list_losses
from mlcompare.study import read_study
from mlcompare.study.config import StudyConfig, validated
from mlcompare.study.entries import parse_entry
from mlcompare.study.keys import study_keys
from mlcompare.study.schema import study_schema
from mlcompare.study.strict_yaml import read_yaml
from mlcompare.training import TrainingConfig
from tests.study.conftest import TINY

STUDIES = sorted((Path(__file__).parents[2] / "studies").rglob("*.yaml"))
ALL = [*list_losses(provider="native"), *list_losses(provider="pml")]
KEYS = study_keys()
LOSSES = [spec for spec in ALL if not spec.term and spec.broken is None]


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = study_schema()
    Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema, allow_nan=False)) == schema
    return Draft202012Validator(schema)


def changed(key: str, value) -> dict:
    """Return the tiny study with another value at a key like ``search.trials``."""
    study = copy.deepcopy(TINY)
    *sections, last = key.split(".")
    inner = study
    for section in sections:
        given = inner.get(section, {})
        inner[section] = inner = {"name": given} if isinstance(given, str) else given
    inner[last] = value
    return study


def losses(**entries) -> dict:
    return {**TINY, "losses": entries}


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_shipped_study_is_valid(validator, path) -> None:
    read_study(path)
    assert [error.message for error in validator.iter_errors(read_yaml(path))] == []


@pytest.mark.parametrize(
    "study",
    [
        TINY,
        losses(mine={"loss": "arcface", "m": 0.3, "scale": [16, 64], "lr": 0.01}, softmax=None),
        losses(both={"sum": [{"loss": "arcface"}, {"loss": "center_term", "λ": {"low": 1e-4, "high": 1}}]}),
        losses(both={"sum": [{"loss": "arcface"}, {"loss": "contrastive", "weight": 0.5}], "steps": [10, 20]}),
        losses(then={"stages": [{"loss": "softmax", "share": 0.5}, {"loss": "triplet", "m": 0.2}]}),
        losses(nested={"matryoshka": {"loss": "arcface", "m": [0.2, 0.3]}, "heads": ["own", "shared"], "lr": 0.01}),
        losses(nested={"matryoshka": {"sum": [{"loss": "arcface"}, {"loss": "ring_term", "λ": 1}]}, "prefixes": "4"}),
        losses(x={"sum": [{"matryoshka": {"loss": "triplet"}, "heads": "own"}, {"loss": "anti_collapse", "t": 1}]}),
        losses(x={"memory": {"loss": "triplet", "m": 0.1}, "N": [64, 256], "start": {"low": 0, "high": 0.5}}),
        losses(x={"matryoshka": {"memory": {"loss": "triplet"}, "size": 64}}, y={"memory": {"loss": "nt_xent"}}),
        losses(x={"stages": [{"loss": "softmax"}, {"matryoshka": {"loss": "arcface"}, "share": 0.5, "prefixes": "4"}]}),
        losses(**{"pml/ArcFaceLoss": None, "own": {"loss": "pml/ContrastiveLoss", "miner": "MultiSimilarityMiner"}}),
        losses(x={"distillation": {"loss": "triplet"}, "teacher": "x.npz", "angle_weight": {"low": 0.1, "high": 5}}),
        losses(x={"sum": [{"loss": "softmax"}, {"distillation": {"loss": "triplet"}, "teacher": "x.npy"}]}),
        losses(adaface={"momentum": 0.5}, ccl={"momentum": 0.9, "warmup": 0.1}),
        changed("search.space", {"lr": {"low": 1e-4, "high": 1, "log": True}, "augment.flip": [0, 0.5], "warmup": 0}),
        changed("search.objective", "recall_at_5"),
        changed("final.metrics", ["tar_at_far_1e-3", "nmi", "map_at_r_in_4", "recall_at_5_in_4"]),
        changed("final.metrics", ["map_at_r_level_kind", "recall_at_5_level_my_kind", "auc_level_kind_in_4"]),
        changed("dataset", {"name": "features", "path": "x", "levels": ["kind", "realm"]}),
        changed("training.augment", "digits"),
        changed("training.augment", {"preset": "digits", "rotate": 5}),
        changed("protocol.test_classes", "official"),
        changed("baselines", "none"),
        changed("baselines", ["pca", "hog"]),
        changed("encoder", {"name": "timm:resnet18", "pretrained": True, "frozen": True, "head": "mlp"}),
        changed("encoder", {"width": 4}),
        changed("encoder", "conv4"),
        changed("dataset", {"name": "image_folder", "path": "x", "size": [32, 32]}),
    ],
    ids=lambda study: str({k: v for k, v in study.items() if TINY.get(k) != v})[:60],
)  # fmt: skip
def test_what_the_reader_takes_is_valid(validator, study) -> None:
    config = validated(copy.deepcopy(study), "x")
    for name, entry in config.losses.items():
        parse_entry(name, entry, training={}, base={})
    assert [error.message for error in validator.iter_errors(study)] == []


REFUSED = [(f"{record['key']}.nonsense".removeprefix("."), 1) for record in KEYS if record["takes"] == "a section"]
REFUSED += [(record["key"], object) for record in KEYS if record["key"].count(".") <= 1]
REFUSED += [
    ("nonsense", 1), ("dataset", {"name": "digitss"}), ("dataset", {}), ("dataset", {"name": "digits", "path": "x"}),
    ("dataset", {"name": "image_folder"}), ("encoder", {"name": "conv4", "widht": 4}), ("encoder", "conv5"),
    ("encoder.head", {"name": "mlp", "width": "wide"}), ("trainer", "my_loop"), ("search.objective", "recall_at_0"),
    ("search.objective", "map_at_r_in_0"), ("final.metrics", ["accuracy_in_4"]),
    ("final.metrics", ["map_at_r_level_"]), ("final.metrics", ["accuracy_level_kind"]),
    ("losses", {"x": {"distillation": {"loss": "triplet"}, "relations": "some"}}),
    ("search.objective", "recall_at"), ("final.metrics", ["map_at_r", "map"]), ("baselines", ["pcaa"]),
    ("training.sampler", "pkk"), ("training.optimizer", "adamm"), ("training.schedule", "cosin"),
    ("training.augment", {"flipp": 0.5}), ("training.augment", {"flip": 2}), ("training.augment", "digit"),
    ("training.select", "first"), ("search.space", {"lrr": 0.1}), ("search.space", {"lr": {"low": 1e-3, "hihg": 1}}),
    ("search.space", {"momentum": {"low": 0.1}}), ("search.space", {"optimizer": ["adam", "adamm"]}),
    ("search.space", {"lr": []}), ("losses", {}), ("losses", ["arcface"]), ("losses", {"arcfase": None}),
    ("losses", {"center_term": None}), ("losses", {"x": {"loss": "arcfase"}}),
    ("losses", {"x": {"sum": [{"loss": "softmax"}]}}),
    ("losses", {"x": {"sum": [{"loss": "softmax"}, {"loss": "center_term", "lamda": 1}]}}),
    ("losses", {"x": {"stages": [{"loss": "softmax", "share": 2}, {"loss": "triplet"}]}}),
    ("losses", {"x": {"sum": [{"loss": "softmax"}, {"loss": "triplet"}], "margin": 1}}),
    ("losses", {"x": {"matryoshka": {"loss": "arcface"}, "margin": 1}}), ("losses", {"x": {"matryoshka": "arcface"}}),
    ("losses", {"x": {"matryoshka": {"loss": "anti_collapse"}}}), ("losses", {"x": {"matryoshka": {"margin": 1}}}),
    ("losses", {"x": {"matryoshka": {"stages": [{"loss": "softmax"}, {"loss": "triplet"}]}}}),
    ("losses", {"x": {"memory": {"loss": "triplet"}, "size": 1.5}}), ("losses", {"x": {"memory": {}}}),
    ("losses", {"x": {"loss": "matryoshka"}}), ("losses", {"x": {"matryoshka": {"loss": "arcface"}, "heads": "two"}}),
    ("losses", {"x": {"sum": [{"loss": "softmax"}, {"matryoshka": {"loss": "arcface", "lr": 0.1}}]}}),
    ("losses", {"magface": {"m": 5}}),
    ("losses", {"arcface": {"margin": 0.3, "m": 0.2}}), ("losses", {"arcface": {"margin": -1}}),
    ("losses", {"arcface": {"gradient": "exakt"}}), ("losses", {"softmax": {"margin": 1}}), ("losses", {"arcface": 3}),
    ("losses", {"l_softmax": {"margin": 2.5}}),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), REFUSED, ids=str)
def test_what_is_wrong_is_not(validator, key, value) -> None:
    study = changed(key, {"non": "sense"} if value is object else value)
    assert not validator.is_valid(study)


@pytest.mark.parametrize("key", [r["key"] for r in KEYS if r["key"].count(".") == 1 and r["default"] is not None])
def test_defaults_are_the_readers_and_of_their_type(validator, key) -> None:
    section, name = key.split(".")
    default = next(record["default"] for record in KEYS if record["key"] == key)
    if default != "needed":
        of_reader = getattr(getattr(StudyConfig(**TINY | {section: {}}), section), name)
        assert of_reader == (tuple(default) if isinstance(default, list) else default)
        assert validator.is_valid(changed(key, default))
        for wrong in ({"non": "sense"}, [["nested"]]):
            with pytest.raises(MLCompareError):
                validated(changed(key, wrong), "x")
            assert not validator.is_valid(changed(key, wrong))


@pytest.mark.parametrize("spec", LOSSES, ids=lambda spec: spec.name)
def test_every_number_of_every_loss(validator, spec) -> None:
    defaults = {
        name: int(declaration.default) if getattr(declaration, "integer", False) else declaration.default
        for name, declaration in {**spec.hyperparameters, **spec.options}.items()
    }
    lists = {name: [default] for name, default in defaults.items() if default is not None}
    ranges = {name: {"low": 1, "high": 2} for name in spec.hyperparameters}
    for entry in (defaults, lists, dict.fromkeys(defaults), ranges):
        assert validator.is_valid(losses(**{spec.name: entry})), entry
    assert validator.is_valid(losses(own={"loss": spec.name, **defaults}))
    assert not validator.is_valid(losses(**{spec.name: {"nonsense": 1}}))
    own = validator.evolve(schema={"$ref": f"#/$defs/loss.{spec.name.replace('/', '.')}"})
    for name in spec.hyperparameters:
        assert not own.is_valid({name: "text"})
        assert own.is_valid({name: {}}) is (name in searched(spec)), "a number without a range needs one"


@pytest.mark.parametrize("entry", ["text", {"lr": "fast"}, {"loss": "softmax", "nonsense": 1}], ids=str)
def test_entries_that_are_none(validator, entry) -> None:
    assert not validator.is_valid(losses(cosface=entry))


def searched(spec) -> set[str]:
    return {name for name, declaration in spec.hyperparameters.items() if declaration.searched}


def test_every_key_says_what_it_is() -> None:
    assert [record["key"] for record in KEYS if not record["description"] or not record["takes"]] == []
    keys = {record["key"] for record in KEYS}
    assert {f"training.{name}" for name in TrainingConfig.model_fields} <= keys
    for name, field in StudyConfig.model_fields.items():
        sections = getattr(field.annotation, "model_fields", {})
        assert {name, *(f"{name}.{inner}" for inner in sections)} <= keys


def test_numbers_carry_symbol_unit_and_range() -> None:
    margin = study_schema()["$defs"]["loss.arcface"]["properties"]["margin"]["anyOf"][0]
    assert margin["description"] == "m; in rad; searched from 0 to 0.8"
    assert margin["default"] == 0.5
    assert margin["anyOf"][0] == {"type": "number", "minimum": 0.0, "maximum": 3.1415}
