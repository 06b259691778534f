"""The study file: what is read, and what is refused with place, rule, value and cure."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcompare.errors import MLCompareError, StudyFileError
from mlcompare.study import make_plan, read_study
from mlcompare.study.config import validated
from mlcompare.study.strict_yaml import read_yaml

HEAD = "name: x\ndataset: digits\nprotocol: {test_classes: 0.4, folds: 2}\ntraining: {classes_per_batch: 3}\n"


def plan(text: str, folder: Path):
    path = folder / "x.yaml"
    path.write_text(text, encoding="utf-8")
    return make_plan(read_study(path), place=str(path))


def test_scalars_follow_yaml_1_2(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: 1e-3\nb: off\nc: 010\nd: 1:30\ne: 2020-01-01\nf: true\ng:\nh: .5\n", encoding="utf-8")
    expected = {"a": 0.001, "b": "off", "c": 10, "d": "1:30", "e": "2020-01-01", "f": True, "g": None, "h": 0.5}
    assert read_yaml(path) == expected


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (HEAD + "losses: {cosface: }\nserach: {}", ["serach", "unknown key", "did you mean search"]),
        (
            HEAD + "losses: {cosface: }\nsearch: {memory_bank: 64}",
            ["search.memory_bank", "wrap the loss: {memory:"],
        ),
        (HEAD + "losses: {cosface: }\nsearch: {gradient_accumulation: 2}", ["unknown key", "training.microbatch"]),
        (HEAD + "losses: {cosfce: }", ["losses.cosfce", "unknown loss", "did you mean cosface"]),
        (
            HEAD + "losses: {cosface: {margin: {low: 0.9, high: 0.5}}}",
            ["losses.cosface.margin.low", "must be below high", "low=0.9, high=0.5"],
        ),
        (HEAD + "losses: {cosface: , cosface: }", ["losses.cosface", "a key stands once", "remove one"]),
        (HEAD + "losses: {cosface: }\nsearch: {trials: many}", ["search.trials", "integer", "'many'"]),
        (HEAD + "losses: {cosface: {margin: wide}}", ["losses.cosface.margin", "must be a number", "'wide'"]),
        (HEAD + "losses: {cosface: {margn: 0.3}}", ["losses.cosface.margn", "did you mean margin"]),
        (HEAD + "losses: {cosface: {scale: -3}}", ["losses.cosface.scale", "`scale > 0` must hold", "-3"]),
        (HEAD + "losses: {center_term: }", ["losses.center_term", "means nothing alone", "sum"]),
        (
            HEAD + "losses: {a: {stages: [{loss: softmax}, {loss: ring_term}]}}",
            ["losses.a", "nothing alone", "ring_term"],
        ),
        (HEAD + "losses: {a: {sum: [{loss: softmax}]}}", ["losses.a.sum", "two losses or more"]),
        (HEAD + "losses: {a: {sum: [{loss: softmax}, {los: triplet}]}}", ["losses.a.sum[1]", "must name a loss"]),
        (
            HEAD + "losses: {a: {stages: [{loss: softmax, share: 0}, {loss: triplet}]}}",
            ["losses.a.stages[0].share", "0 < share <= 1"],
        ),
        (
            HEAD + "losses: {a: {memory: {loss: arcface}}}",
            ["losses.a.memory", "a loss of anchors against references", "got arcface", "wrap the term"],
        ),
        (HEAD + "losses: {a: {memory: {loss: triplet}, size: 0}}", ["losses.a.size", "a whole number, 1 or more"]),
        (
            HEAD.replace("{classes", "{class_sample: 0.5, classes")
            + "losses: {a: {sum: [{loss: arcface}, {memory: {loss: triplet}}]}}",
            ["losses.a", "must see all classes", "leave out training.class_sample"],
        ),
        (HEAD + "losses: {a: {matryoshka: arcface}}", ["losses.a.matryoshka", "must name a loss", "'arcface'"]),
        (HEAD + "losses: {a: {matryoshka: {loss: arcface, margn: 1}}}", ["losses.a.matryoshka.margn", "mean margin"]),
        (HEAD + "losses: {a: {matryoshka: {loss: arcface}, prefix: 4}}", ["losses.a.prefix", "mean prefixes"]),
        (HEAD + "losses: {a: {matryoshka: {loss: center_term}}}", ["losses.a", "nothing alone", "center_term"]),
        (HEAD + "losses: {a: {loss: matryoshka}}", ["losses.a", "goes around a loss", "{matryoshka: {loss: …}}"]),
        (
            HEAD + "losses: {a: {matryoshka: {stages: [{loss: softmax}, {loss: triplet}]}}}",
            ["losses.a.matryoshka.stages", "stages stand outermost", "{stages: [{matryoshka: …}, …]}"],
        ),
        (
            HEAD + "losses: {a: {sum: [{loss: softmax}, {matryoshka: {loss: triplet, m: -1}}]}}",
            ["losses.a.", "`margin >= 0.0` must hold"],
        ),
        (
            HEAD + "losses: {a: {sum: [{loss: softmax}, {matryoshka: {loss: triplet, mm: 1}}]}}",
            ["losses.a.sum[1].matryoshka.mm", "unknown hyperparameter"],
        ),
        (
            HEAD + "encoder: {embedding_dim: 12}\nlosses: {a: {matryoshka: {loss: triplet}}}",
            ["losses.a.prefixes", "a prefix of 8 or more", "embedding_dim=12", "an embedding_dim of 16 or more"],
        ),
        (
            HEAD + "encoder: {embedding_dim: 8}\nlosses: {a: {matryoshka: {loss: triplet}, prefixes: ['4', '9']}}",
            ["losses.a.prefixes", "whole numbers of 1 to the embedding's 8", "'9'"],
        ),
        (HEAD + "losses: {cosface: }\nsearch: {space: {lr: {low: 1, high: 0.1}}}", ["search.space.lr.low", "below"]),
        (HEAD + "losses: {cosface: }\nsearch: {objective: map}", ["search.objective", "unknown metric", "map_at_r"]),
        (
            HEAD + "encoder: {embedding_dim: 8}\nlosses: {cosface: }\nfinal: {metrics: [map_at_r_in_9]}",
            ["final.metrics", "must have the coordinates", "embedding_dim: 8", "choose map_at_r"],
        ),
        (HEAD.replace("digits", "digitz") + "losses: {cosface: }", ["dataset", "did you mean digits"]),
        (
            HEAD.replace("per_batch: 3", "per_batch: 9") + "losses: {cosface: }",
            ["training", "9 classes, got 3 classes"],
        ),
        ("dataset: digits\nlosses: {cosface: }", ["name", "needed", "add `name: …`"]),
        (HEAD + "losses: {cosface: }\nencoder: {name: lineer}", ["encoder", "did you mean linear"]),
        (HEAD + "losses: {cosface: }\nsearch: {objective: accuracy}", ["search.objective", "closed_set"]),
        (HEAD + "losses: {cosface: }\nfinal: {metrics: [accuracy]}", ["final.metrics", "closed_set"]),
        (HEAD + "losses: [cosface]", ["losses", "a line `arcface:` for each loss"]),
        (HEAD + "losses: {}", ["at least one loss"]),
        ("- a", ["is a mapping"]),
        ("a: &x [1]\nb: *x", ["no aliases"]),
        ("a: !!python/object:os.system x", ["no tags"]),
        ("a: [", ["valid YAML"]),
        ("[" * 40 + "]" * 40, ["nests at most"]),
        ("1: 2", ["keys are text"]),
    ],
)
def test_mistakes_are_named(text: str, parts: list[str], tmp_path: Path) -> None:
    with pytest.raises(StudyFileError) as caught:
        plan(text, tmp_path)
    message = str(caught.value)
    assert str(tmp_path / "x.yaml") in message
    assert "\n" not in message
    for part in parts:
        assert part in message, message


def test_an_encoder_has_its_usual_dimension() -> None:
    base = {"name": "x", "dataset": "digits", "losses": {"cosface": None}}
    dims = {
        name: validated(base | {"encoder": {"name": name}}, "x").encoder.embedding_dim for name in ("conv", "lenetpp")
    }
    assert dims == {"conv": 64, "lenetpp": 2}
    assert validated(base | {"encoder": {"name": "lenetpp", "embedding_dim": 3}}, "x").encoder.embedding_dim == 3


def test_a_missing_file_and_other_bytes(tmp_path: Path) -> None:
    with pytest.raises(StudyFileError, match="must exist"):
        read_study(tmp_path / "none.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StudyFileError, match="UTF-8"):
        read_study(tmp_path / "b.yaml")


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.builds(lambda t: HEAD + "losses: " + t, st.text(max_size=40)))
def test_any_text_is_read_or_refused(tmp_path_factory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")
    with suppress(MLCompareError):  # any other error fails the test
        read_study(path)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
sections = ["name", "dataset", "protocol", "corruption", "encoder", "training", "search", "final", "losses"]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sections), values)
def test_any_value_anywhere_is_read_or_refused(tmp_path_factory, section: str, value) -> None:
    path = tmp_path_factory.getbasetemp() / "value.yaml"
    whole = {"name": "x", "dataset": "digits", "losses": {"cosface": None}, section: value}
    path.write_text(yaml.safe_dump(whole), encoding="utf-8")
    with suppress(MLCompareError):
        make_plan(read_study(path), place=str(path))
