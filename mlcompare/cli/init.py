"""The command that begins: a study file for data that nobody has described."""

from __future__ import annotations

import json
import os
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer
from rich.console import Console

from mlcompare.cli.app import app
from mlcompare.cli.options import PluginOption, at_home
from mlcompare.errors import InvalidValueError, StoreError

__all__ = ["init"]


@app.command()
def init(
    path: Annotated[
        Path,
        typer.Argument(help="A folder of images, a list of them, features, or IDX files.", callback=at_home),
    ],
    minutes: Annotated[float, typer.Option(help="How long the study may take on this machine.")] = 15.0,
    out: Annotated[Path, typer.Option("--out", help="The study file to write.", callback=at_home)] = Path("study.yaml"),
    device: Annotated[str, typer.Option(help="Where it will run: auto, cpu or cuda.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write over a study file that is there.")] = False,
    plugin: PluginOption = None,
) -> None:
    """Look at your data and write a first study file, with a comment on every line."""
    from mlcompare.data.survey import survey
    from mlcompare.files import write_atomically
    from mlcompare.study.proposal import propose, seen, study_text

    _check_out(out, overwrite)
    console = Console()
    with console.status("looking at the data"):
        found = survey(path)
    told = seen(found)
    for sentence in told:
        console.print(sentence, soft_wrap=True, markup=False)
    with console.status("timing a few trainings"):
        proposal = propose(found, _written_path(found.path, out), minutes, device=device)
    text = study_text(proposal, told, quote(str(out)), schema=_schema())
    _check_out(out, overwrite)  # it may have come into being meanwhile
    write_atomically(out, text.encode())
    if not proposal.fits:
        console.print(f"note: {proposal.why['budget']}", style="yellow", soft_wrap=True, markup=False)
    losses, trials = len(proposal.study["losses"]), proposal.study["search"]["trials"]
    told_budget = f"{losses} losses, {trials} trials each, about {proposal.minutes:.0f} min"
    console.print(f"wrote {out}: {told_budget}", soft_wrap=True, markup=False)
    name = quote(str(out))
    console.print(f"next: mlcompare check {name}, then mlcompare run {name}", soft_wrap=True, markup=False)


def _check_out(out: Path, overwrite: bool) -> None:
    from mlcompare.files import check_folder

    if out.is_dir() or not out.parent.is_dir():
        got = "a folder" if out.is_dir() else f"no folder {out.parent}"
        raise StoreError("`--out` must be a file in a folder that exists", value=got, place=str(out))
    check_folder(out.parent, "the study file must be writable", cure="choose another --out", place=out)
    if os.path.lexists(out) and not overwrite:
        cure = "choose another --out, or write over it with --overwrite"
        raise StoreError("an existing study file is kept", value="one there", cure=cure, place=str(out))


def _written_path(data: Path, out: Path) -> str:
    """How the study file names the data: from its own folder on where they lie in it, else in full.

    The folder itself is named in full too: `.` would be wherever the study is run from.
    """
    full, folder = data.absolute(), out.absolute().parent
    written = str(full.relative_to(folder)) if folder in full.parents else str(full)
    try:
        written.encode()
    except UnicodeEncodeError:
        cure = "rename the folder or the file"
        raise InvalidValueError(
            "a study file is UTF-8 text, and so are paths in it", value=ascii(written), cure=cure
        ) from None
    return written


def _schema() -> str | None:
    """Leave the JSON Schema of study files in the user's cache and return its address; None where that can't be."""
    from mlcompare import __version__
    from mlcompare.files import make_folder, user_cache, write_atomically
    from mlcompare.study.schema import study_schema

    path = user_cache() / f"study-schema-{__version__}.json"
    try:
        make_folder(path.parent)
        write_atomically(path, json.dumps(study_schema(), ensure_ascii=False).encode())
    except OSError:
        return None
    return path.as_uri()
