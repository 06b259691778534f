"""The listing of losses: by idea, then by year, with the ten of a first comparison marked."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from mlcompare.data import list_datasets
from mlcompare.kinds import registry_of
from mlcompare.registry import FIRST_COMPARISON, IDEAS, WRAPPERS, get_spec, list_losses
from mlcompare.report.listings import (
    dataset_records,
    datasets_table,
    keys_table,
    loss_page,
    loss_records,
    losses_table,
    records_table,
)
from mlcompare.study.keys import study_keys


def column(table, number: int) -> list[str]:
    return [str(cell) for cell in table.columns[number].cells]


def test_losses_stand_under_their_idea_in_the_order_of_their_years() -> None:
    losses, wrappers = list_losses(provider="native"), WRAPPERS.records(provider="native")
    specs = [*losses, *wrappers]
    table = losses_table(specs)
    assert str(table.title) == f"{len(losses)} losses"
    names, years = column(table, 0), column(table, 2)
    headings = [name for name, year in zip(names, years) if not year]
    assert headings == list(IDEAS.values())
    assert len(names) == len(specs) + len(IDEAS)
    idea, last, known = "", 0, {spec.name: spec for spec in specs}
    for name, year in zip(names, years):
        if not year:
            idea, last = name, 0
            continue
        spec = known[name.split(" = ")[0].rstrip("*")]
        assert IDEAS[spec.group] == idea
        assert last <= int(year) == spec.year
        last = int(year)


def test_the_first_comparison_is_marked_and_explained() -> None:
    table = losses_table(list_losses(provider="native"))
    marked = {name.split("*")[0] for name in column(table, 0) if "*" in name}
    assert marked == set(FIRST_COMPARISON)
    assert "first comparison" in str(table.caption)
    assert losses_table([get_spec("vpl")]).caption is None


def test_what_says_neither_idea_nor_year_is_listed_too() -> None:
    bare = replace(get_spec("vpl"), name="mine", group="own idea", reference="", bibtex="")
    broken = replace(bare, name="gone", group="", broken="ImportError: no module")
    table = losses_table([bare, broken])
    assert column(table, 0) == ["others", "gone", "own idea", "mine"]
    assert "broken: ImportError: no module" in column(table, 3)


def test_a_page_says_what_a_loss_is_and_where_it_is_from() -> None:
    text = io.StringIO()
    Console(width=200, file=text).print(loss_page(get_spec("vpl")))
    assert text.getvalue().startswith("vpl  (margin, margins, CVPR, 2021)")


def shown(what, width: int = 200) -> str:
    text = io.StringIO()
    Console(width=width, file=text).print(what)
    return text.getvalue()


def test_published_settings_have_their_source_and_their_unit() -> None:
    lines = [line for line in shown(loss_page(get_spec("cosface"))).splitlines() if line.startswith("published")]
    assert lines[0] == "published: m=0.4 cosine, s=64  (arcface_torch, deepinsight/insightface)"
    assert len(lines) == 3, "a line for each source"
    own = replace(get_spec("vpl"), name="mine", published=({"margin": 0.3},), reference="Me 2026")
    assert "published: m=0.3 rad  (Me 2026)" in shown(loss_page(own))
    (record,) = loss_records([get_spec("arcface")])
    assert record["published"][0] == {
        "margin": 0.4049,
        "scale": 100.0,
        "source": "Musgrave et al. 2020, arXiv:2003.08505",
    }


@pytest.mark.parametrize("spec", list_losses(provider="native"), ids=lambda spec: spec.name)
def test_a_page_has_no_markup_and_wraps_its_own_lines(spec) -> None:
    page = shown(loss_page(spec), 5000)
    assert not re.search(r":\w+:`", page)
    for line in page.split(">>>")[0].split("\n\n")[1:]:
        assert line.startswith((" ", "-")) or "\n" not in line.strip() or "┏" in line


def test_what_a_person_copies_is_never_cut() -> None:
    """Eighty columns, as in a terminal that nobody widened, or a pipe."""
    keys = [record["key"] for record in study_keys()]
    page = shown(keys_table(study_keys()), 80)
    assert all(f" {key} " in page for key in keys)
    tables = [keys_table(study_keys()), losses_table(list_losses()), datasets_table(dataset_records(list_datasets()))]
    tables += [records_table(kind, registry_of(kind).records()) for kind in ("encoders", "metrics", "augmentations")]
    for table in tables:
        assert shown(table, 80).count("…") == shown(table, 5000).count("…"), "as many as the texts have"
    assert "verification, share, 0 to 1, lower is better" in shown(records_table("m", registry_of("metrics").records()))
