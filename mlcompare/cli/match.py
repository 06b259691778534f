"""Commands that compare samples with an exported model: neighbours and verify."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlcompare.cli.app import app
from mlcompare.cli.options import Format, PluginOption, at_home, print_records
from mlcompare.errors import InvalidValueError, StoreError

if TYPE_CHECKING:
    from mlcompare.export.matches import Matches

__all__ = ["neighbours", "verify"]

ModelArgument = Annotated[Path, typer.Argument(help="A folder that `export` made.", callback=at_home)]
FarOption = Annotated[
    float | None, typer.Option(help="The false accept rate whose threshold decides (the card's own).")
]
ThresholdOption = Annotated[
    float | None, typer.Option(help="The cosine from which two are of one class, in place of the card's.")
]
FormatOption = Annotated[Format, typer.Option("--format", "-f")]
RULE, CURE = "the file must be writable", "name a file in a directory that exists and can be written"
VERDICTS = {True: "same class", False: "different", None: ""}


@app.command()
def neighbours(
    model: ModelArgument,
    gallery: Annotated[Path, typer.Argument(help="Among whom: a folder of images, or a table.", callback=at_home)],
    query: Annotated[Path, typer.Argument(help="For whom: a folder, one image, or a table.", callback=at_home)],
    top: Annotated[int, typer.Option(min=1, help="How many are found for each.")] = 5,
    far: FarOption = None,
    threshold: ThresholdOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Draw them: an .html file.", callback=at_home)] = None,
    format: FormatOption = Format.table,
    plugin: PluginOption = None,
) -> None:
    """List the nearest samples of a gallery with their cosines and the threshold's verdict, and draw them."""
    from mlcompare.export.matches import find_neighbours
    from mlcompare.files import check_folder

    if out is not None and out.suffix.lower() != ".html":
        raise InvalidValueError("`--out` must end in .html", value=str(out))
    if out is not None:
        check_folder(out.parent, RULE, cure=CURE, place=out)
    found = find_neighbours(
        model, gallery, query, top=top, far=far, threshold=threshold,
        note=lambda sentence: print(f"note: {sentence}", file=sys.stderr),
    )  # fmt: skip
    if format is Format.table:
        Console().print(_table(found))
    else:
        print_records(_records(found), format)
    if out is not None:
        _draw(found, str(model), out)


def _records(found: Matches) -> list[dict[str, Any]]:
    labels = found.gallery.labels
    return [
        {
            "query": found.queries.names[match.query], "rank": match.rank, "neighbour": found.gallery.names[match.row],
            "label": labels[match.row] if labels else None, "cosine": match.cosine, "same_class": match.same,
        }
        for match in found.found
    ]  # fmt: skip


def _table(found: Matches) -> Table:
    limit = "the model's card has no threshold: give one with --threshold"
    if found.threshold is not None:
        limit = f"threshold {found.threshold:.3f}: {found.told}"
    table = Table(box=None, title=f"nearest by cosine; {limit}", title_justify="left")
    for name in ("query", "", "neighbour", "cosine", "verdict"):
        table.add_column(name, justify="right" if name in ("", "cosine") else "left")
    for match in found.found:
        query = found.queries.shown(match.query) if match.rank == 1 else ""
        cells = query, str(match.rank), found.gallery.shown(match.row), f"{match.cosine:.3f}", VERDICTS[match.same]
        table.add_row(*map(Text, cells))
    return table


def _draw(found: Matches, model: str, out: Path) -> None:
    from mlcompare import __version__
    from mlcompare.export.matches import Pictured
    from mlcompare.files import write_atomically
    from mlcompare.report.nearest_page import MOST_DRAWN, nearest_page
    from mlcompare.report.sheets import Sample, data_uri

    if found.queries.samples.ndim != 4:
        raise InvalidValueError("pictures are drawn of images", value="features", cure="leave out --out", place="--out")

    def picture(of: Pictured, row: int) -> Sample:
        return Sample(row, of.shown(row), data_uri(of.samples[row]))

    rows = [
        (picture(found.queries, query),
         [(picture(found.gallery, match.row), match.cosine, match.same) for match in matches])
        for query, matches in groupby(found.found, lambda match: match.query) if query < MOST_DRAWN
    ]  # fmt: skip
    left = len({match.query for match in found.found}) - len(rows)
    page = nearest_page(
        f"What {Path(model).name} finds", rows, threshold=found.threshold, told=found.told, left=left,
        versions=[__version__],
    )  # fmt: skip
    try:
        write_atomically(out, page.encode())
    except OSError as error:
        raise StoreError(RULE, value=error.strerror, cure=CURE, place=str(out)) from None
    print(f"drew {len(rows)} queries in {out}", file=sys.stderr)


@app.command()
def verify(
    model: ModelArgument,
    a: Annotated[Path, typer.Argument(metavar="A", help="One image, or a table with one row.", callback=at_home)],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another.", callback=at_home)],
    far: FarOption = None,
    threshold: ThresholdOption = None,
    format: FormatOption = Format.table,
    plugin: PluginOption = None,
) -> None:
    """Say whether two samples are of one class, by their cosine and the threshold of the model's card."""
    from mlcompare.export.matches import verify_pair

    cosine, same, limit, told = verify_pair(model, a, b, far=far, threshold=threshold)
    if format is not Format.table:
        print_records([{"a": str(a), "b": str(b), "cosine": cosine, "threshold": limit, "same_class": same}], format)
    elif limit is None:
        print(f"cosine {cosine:.3f}; the model's card has no threshold: give one with --threshold")
    else:
        verdict = "the same class" if same else "different classes"
        print(f"{verdict}: cosine {cosine:.3f}, threshold {limit:.3f} ({told})")
