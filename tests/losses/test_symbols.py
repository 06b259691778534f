"""Symbols of the field's notation (m, s, λ, α, τ) are other names of a loss's numbers, wherever these are given."""

from __future__ import annotations

from collections import Counter

import pytest

from mlcompare.errors import InvalidValueError, StudyFileError, UnknownNameError
from mlcompare.losses import ArcFace
from mlcompare.losses.compose import LossEntry, Term
from mlcompare.registry import create_loss, get_spec, list_losses
from mlcompare.search.space import loss_space
from mlcompare.study.entries import parse_entry
from mlcompare.training import TrainingJob

SPECS = {spec.name: spec for spec in list_losses(provider="native")}
SIZES = {"num_classes": 3, "embedding_dim": 4}
NOTATION = {"margin": "m", "scale": "s", "weight": "λ", "alpha": "α", "temperature": "τ"}


def symbols(loss: str) -> dict[str, list[str]]:
    """Symbol → names, of the symbols that aren't names themselves."""
    known = {**SPECS[loss].hyperparameters, **SPECS[loss].options}
    found: dict[str, list[str]] = {}
    for name, declaration in known.items():
        if declaration.symbol and declaration.symbol not in known:
            found.setdefault(declaration.symbol, []).append(name)
    return found


ONE = [(loss, symbol, names[0]) for loss in SPECS for symbol, names in symbols(loss).items() if len(names) == 1]
SHARED = [(loss, symbol, names) for loss in SPECS for symbol, names in symbols(loss).items() if len(names) > 1]


def value_of(loss: str, name: str):
    """Return another value than the default."""
    declaration = SPECS[loss].hyperparameters.get(name)
    if declaration is None:
        return SPECS[loss].options[name].default + 1
    value = declaration.high if declaration.searched else declaration.default + 1
    return int(value) if declaration.integer else value


@pytest.mark.parametrize("loss", SPECS)
def test_the_fields_names_declare_the_fields_symbols(loss) -> None:
    for name, declaration in SPECS[loss].hyperparameters.items():
        assert declaration.symbol == NOTATION.get(name, declaration.symbol), name


@pytest.mark.parametrize(("loss", "symbol", "name"), ONE)
def test_a_symbol_is_the_name(loss, symbol, name) -> None:
    value = value_of(loss, name)
    if loss != "up_term":  # means nothing without a head
        by_symbol, by_name = (create_loss(loss, **SIZES, **{key: value}) for key in (symbol, name))
        assert float(getattr(by_symbol, name)) == float(getattr(by_name, name)) == value
        with pytest.raises(InvalidValueError, match=f"`{name}` must be given once"):
            create_loss(loss, **SIZES, **{symbol: value, name: value})
    entry = LossEntry(loss, "single", (Term(loss),))
    for given in (value, [value]):
        assert loss_space(entry, {symbol: given}) == loss_space(entry, {name: given}) != loss_space(entry, {})
    assert TrainingJob.of(loss, **{symbol: value}) == TrainingJob.of(loss, **{name: value})


@pytest.mark.parametrize(("loss", "symbol", "name"), [case for case in ONE if not SPECS[case[0]].term])
def test_a_study_file_takes_symbols(loss, symbol, name) -> None:
    value = value_of(loss, name)
    fixed = [parse_entry(loss, {key: value}, training={}, base={}) for key in (symbol, name)]
    assert fixed[0] == fixed[1]
    terms = [
        {"sum": [{"loss": "softmax"}, {"loss": "deepvisage"}, {"loss": loss, key: value}]} for key in (symbol, name)
    ]
    if loss not in ("softmax", "deepvisage") and symbol != "λ":  # a sum may give its terms a weight of its own
        sums = [parse_entry("mine", entry, training={}, base={}) for entry in terms]
        assert sums[0] == sums[1]
    with pytest.raises(StudyFileError, match=rf"losses\.{loss}\.\w+: `{name}` must be given once"):
        parse_entry(loss, {name: value, symbol: value}, training={}, base={})


@pytest.mark.parametrize(("loss", "symbol", "names"), SHARED)
def test_a_shared_symbol_names_its_candidates(loss, symbol, names) -> None:
    with pytest.raises(InvalidValueError, match=f"`{symbol}` must stand for one number; write {' or '.join(names)}"):
        create_loss(loss, **SIZES, **{symbol: 1.0})
    with pytest.raises(StudyFileError, match=rf"losses\.{loss}\.{symbol}: .*; write {' or '.join(names)}"):
        parse_entry(loss, {symbol: 1.0}, training={}, base={})


def test_some_symbol_is_shared() -> None:
    assert ("magface", "m", ["lower_margin", "upper_margin"]) in SHARED


def test_ranges_and_both_terms_of_a_sum() -> None:
    given = {"sum": [{"loss": "arcface", "m": {"low": 0.1, "high": 0.4}}, {"loss": "contrastive", "m": 0.3, "λ": 0.5}]}
    _, space = parse_entry("both", given, training={}, base={})
    assert (space["arcface_margin"].low, space["arcface_margin"].high) == (0.1, 0.4)
    assert (space["contrastive_margin"], space["weight"]) == (0.3, 0.5)
    given["sum"][1]["weight"] = 0.5
    with pytest.raises(StudyFileError, match=r"losses\.both\.sum\[1\]\.weight: `weight` must be given once"):
        parse_entry("both", given, training={}, base={})
    given = {"sum": [{"loss": "arcface"}, {"loss": "sphereface", "λ": 1.0}]}
    with pytest.raises(StudyFileError, match=r"sum\[1\]\.λ: .*; write lambda_min or weight"):
        parse_entry("both", given, training={}, base={})


def test_a_name_comes_before_a_symbol() -> None:
    names = Counter(key for spec in SPECS.values() for key, h in spec.hyperparameters.items() if h.symbol == key)
    assert names["m1"] == names["h"] == 1
    assert float(create_loss("combined_margin", **SIZES, m1=1.2).m1) == 1.2


def test_classes_take_symbols_and_refuse_them_once_built() -> None:
    loss = ArcFace(**SIZES, m=0.25)
    assert float(loss.margin) == 0.25
    for built in (loss, create_loss("center", **SIZES)):
        symbol, name = ("m", "margin") if built is loss else ("λ", "weight")
        with pytest.raises(UnknownNameError, match=f"`{symbol}` is the symbol of {name}; set {name}"):
            setattr(built, symbol, 0.2)


def test_pytorch_metric_learning_keeps_its_own_names() -> None:
    with pytest.raises(UnknownNameError, match="unknown hyperparameter 'm'"):
        get_spec("pml/ArcFaceLoss").create(**SIZES, m=0.2)
