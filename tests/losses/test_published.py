"""Published settings, references and citations: what is quoted is tried, or its absence is explained."""

import re

import pytest

from mlcompare.losses.citation import cite
from mlcompare.losses.compose import LossEntry, Term
from mlcompare.registry import get_spec, list_losses
from mlcompare.search.proposals import Start, Told, default_values, propose, published_trials
from mlcompare.search.space import Choice, Range, loss_space

NATIVE = list_losses(provider="native")
QUOTED = [spec.name for spec in NATIVE if spec.published]
SPACE = {"margin": Range(0.0, 0.6, 0.35), "sampling": Choice(("all", "hard"), "all"), "scale": 30.0}
PUBLISHED = [
    {"margin": 0.9},
    {"margin": 0.5},
    {"margin": 0.35},
    {"margin": 0.1, "scale": 30.0},
    {"scale": 64.0},
    {"margin": 0.2, "sampling": "easy"},
    {"beta": 1.0},
    {"margin": 0.3},
]
STARTS = [Start(setting, "published") for setting in PUBLISHED]


def space_of(name, **given):
    return loss_space(LossEntry(name, "single", (Term(name),)), given)


@pytest.mark.parametrize("name", QUOTED)
def test_a_study_that_says_nothing_tries_every_published_setting(name):
    spec = get_spec(name)
    tried, left_out = published_trials(space_of(name), spec.published)
    assert not left_out
    assert len(tried) == len(spec.published)
    for values, setting in zip(tried, spec.published):
        assert values == {**default_values(space_of(name)), **setting}


def test_what_a_study_narrows_is_left_out_with_the_reason():
    tried, left_out = published_trials(SPACE, PUBLISHED)
    assert [values["margin"] for values in tried] == [0.5, 0.1, 0.3]
    assert [reason for _, reason in left_out] == [
        "margin=0.9 lies outside 0 – 0.6",
        "the same as the default or an earlier setting",
        "scale=64.0, and the study fixes scale=30.0",
        "sampling=easy is none of all, hard",
        "beta is not a hyperparameter of this entry",
    ]
    narrowed = published_trials(space_of("cosface", scale=64.0), get_spec("cosface").published)
    assert [values["margin"] for values in narrowed[0]] == [0.4]
    assert narrowed[1][-1] == ({"margin": 0.41, "scale": 88.0}, "scale=88.0, and the study fixes scale=64.0")


def run(trials, told=(), rounds=2):
    """Return the sources and margins of a search that asks for ``rounds`` trials at a time."""
    told = list(told)
    while len(told) < trials:
        numbers = range(len(told), min(len(told) + rounds, trials))
        proposals = propose(SPACE, told, numbers, first=STARTS, seed_parts=("x",), trials=trials)
        told += [Told(p.number, p.values, 0.5) for p in proposals]
        yield from [(p.source, p.values["margin"], told[-1]) for p in proposals]


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_only_the_budget_cuts_and_a_larger_one_tries_the_rest(rounds):
    small = list(run(6, rounds=rounds))
    assert [source for source, *_ in small] == ["default", "published", "published", *3 * ["sampled"]]
    assert [margin for _, margin, _ in small[:3]] == [0.35, 0.5, 0.1]
    told = [Told(number, {**SPACE_DEFAULT, "margin": margin}, 0.5) for number, (_, margin, _) in enumerate(small)]
    more = list(run(12, told, rounds))
    assert [(source, margin) for source, margin, _ in more[:1]] == [("published", 0.3)]
    assert {source for source, *_ in more[1:]} == {"sampled"}


SPACE_DEFAULT = default_values(SPACE)


def test_the_quoted_numbers():
    assert get_spec("cosface").published[0] == {"margin": 0.4, "scale": 64.0}
    assert {"alpha": 2.0, "beta": 40.0, "base": 0.5, "epsilon": 0.1} in get_spec("multi_similarity").published
    assert all("epsilon" in setting for setting in get_spec("multi_similarity").published)
    for name in ("proxy_nca", "contrastive"):  # optima of another formula, said in the docstring
        assert not get_spec(name).published
        assert "Musgrave" in get_spec(name).doc
    assert {"scale": 28.0} in get_spec("normface").published


@pytest.mark.parametrize("spec", NATIVE, ids=lambda spec: spec.name)
def test_every_work_that_a_reference_names_is_cited(spec):
    works = re.findall(r"([A-Z][\w\-]+)(?: et al\.| & [A-Z]\w+)? (\d{4})", spec.reference)
    assert works, spec.reference
    entries = spec.bibtex.split("\n\n")
    for surname, year in works:
        assert any(surname in entry and f"year = {{{year}}}" in entry for entry in entries), (surname, year)
    for entry in entries:
        assert entry.startswith("@article") == ("journal = " in entry)
        assert entry.startswith("@inproceedings") == ("booktitle = " in entry)


def test_a_journal_makes_an_article():
    entry = cite("a2000", "A, B", "T", year=2000, journal="Journal of X", arxiv="1.2")
    assert entry.startswith("@article{a2000")
    assert "journal = {Journal of X}" in entry
    assert "eprint = {1.2}" in entry


def test_no_docstring_hides_behind_hearsay():
    for spec in NATIVE:
        assert "commonly stated" not in spec.doc
