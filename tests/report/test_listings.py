"""The listing of losses: by idea, then by year, with the ten of a first comparison marked."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from mlcompare.registry import FIRST_COMPARISON, IDEAS, WRAPPERS, get_spec, list_losses
from mlcompare.report.listings import loss_page, losses_table


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
