"""The priors that come with the package: every setting can be tried, whatever a study fixes or narrows."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from mlcompare.losses.compose import LossEntry, Term
from mlcompare.registry import list_losses
from mlcompare.search.first_settings import first_settings
from mlcompare.search.needs import fitted
from mlcompare.search.priors import TRAINED, earlier_tables, flat_range, group_of, prior_starts, shipped
from mlcompare.search.proposals import propose
from mlcompare.search.space import Choice, Range, loss_space
from mlcompare.search.training_space import training_space
from mlcompare.search.transfer import Transfer
from mlcompare.study.config import validated
from mlcompare.study.plan import make_plan
from mlcompare.study.plan_summary import print_outline
from mlcompare.training.config import TrainingConfig

NATIVE = [spec.name for spec in list_losses(provider="native") if not spec.term]


def entry_of(name: str) -> LossEntry:
    return LossEntry(name, "single", (Term(name),))


def space_of(name: str, given: dict | None = None, **training) -> dict:
    config = TrainingConfig(**training)
    searched = training_space({"lr": {}} if config.lr is None else {}, dict(config))
    return fitted(entry_of(name), {**searched, **loss_space(entry_of(name), given or {})}, config, 100, 1000)


@pytest.mark.parametrize("name", NATIVE)
def test_every_loss_has_settings_that_a_study_can_try(name: str) -> None:
    space = space_of(name)
    starts = prior_starts(entry_of(name), space)
    assert starts, "of its own, or of its kind"
    for start in starts:
        assert start.values.keys() == space.keys()
        for key, dimension in space.items():
            searched = isinstance(dimension, Range | Choice)
            assert dimension.contains(start.values[key]) if searched else start.values[key] == dimension


def test_what_a_study_fixes_or_narrows_stays() -> None:
    space = space_of("cosface", {"scale": 20.0, "margin": {"low": 0.45, "high": 0.5}}, lr=1e-3)
    starts = prior_starts(entry_of("cosface"), space)
    assert starts
    assert {start.values["scale"] for start in starts} == {20.0}
    assert all(0.45 <= start.values["margin"] <= 0.5 for start in starts)
    assert "lr" not in space
    assert not any("lr" in start.values for start in starts)


def test_a_search_learns_from_them_and_says_so() -> None:
    space, entry = space_of("arcface"), entry_of("arcface")
    transfer = Transfer(space, earlier_tables(entry))
    first = first_settings(entry, space, "priors")
    sources = [p.source for p in propose(space, [], range(5), first=first, transfer=transfer, seed_parts=(), trials=9)]
    assert sources == ["default", *["prior"] * 4]
    assert {start.source for start in first_settings(entry, space, "published")} == {"published"}
    assert first_settings(entry, space, "cold") == ()


def test_situations_of_the_same_dataset_are_left_out() -> None:
    """They have seen classes that a study of it seals."""
    entry, situations = entry_of("arcface"), shipped()["situations"]
    for dataset in {told["dataset"] for told in situations.values()}:
        tables = earlier_tables(entry, dataset)
        assert tables
        assert dataset not in {situations[table.situation]["dataset"] for table in tables}
    own = {d for d in ("digits", "glyphs") for key in ("lr", "margin", "scale")
           if flat_range(entry, key, d) != flat_range(entry, key)}  # fmt: skip
    assert own == {"digits", "glyphs"}
    assert prior_starts(entry, space_of("arcface"), 100, "digits") != prior_starts(entry, space_of("arcface"), 100)


@pytest.mark.parametrize("name", ["circle", "supcon", "soft_triple"])
def test_a_loss_without_a_table_learns_what_its_kind_shares(name: str) -> None:
    tables = earlier_tables(entry_of(name))
    assert tables
    assert {key for table in tables for values in table.settings for key in values} <= set(TRAINED)
    assert Transfer(space_of(name), tables).knows


def test_a_flat_range_lies_within_what_was_searched() -> None:
    for name in shipped()["losses"]:
        space = space_of(name)
        for key, dimension in space.items():
            ends = flat_range(entry_of(name), key)
            if ends and ends.low is not None and isinstance(dimension, Range):
                assert ends.low < ends.high
                assert ends.worst < 1
    assert flat_range(entry_of("arcface"), "nothing") is None
    assert flat_range(LossEntry("both", "sum", (Term("arcface"), Term("center_term"))), "lr") is None


def test_kinds_of_losses_cover_the_table() -> None:
    known = shipped()
    for group, told in known["groups"].items():
        assert {group_of(entry_of(name)) for name in told["losses"]} == {group}
        assert told["settings"]
    assert set(known["groups"]) == {"pairs", "margin", "proxies"}


@pytest.mark.parametrize(("encoder", "sources"), [("linear", ["default", "prior"]), ("conv", ["default", "published"])])
def test_where_no_such_encoder_is_known_published_settings_stand_in(encoder: str, sources: list[str]) -> None:
    """The one network of the table was trained on these faces: of it a study of them may not learn."""
    study = {
        "name": "x", "dataset": {"name": "orl_faces", "size": [20, 16]}, "protocol": {"test_classes": 0.5, "folds": 2},
        "encoder": {"name": encoder}, "search": {"start": "priors", "trials": 9}, "losses": {"multi_similarity": None},
    }  # fmt: skip
    plan = make_plan(validated(study, "study"))
    loss = plan.losses["multi_similarity"]
    transfer = Transfer(loss.space, loss.earlier)
    asked = propose(loss.space, [], range(2), first=loss.first, transfer=transfer, seed_parts=(), trials=9)
    assert [proposal.source for proposal in asked] == sources
    console = Console(file=io.StringIO(), width=200)
    print_outline(plan, console)
    told = {"linear": "by what situations of other data tell", "conv": "by published settings"}
    assert told[encoder] in console.file.getvalue()
