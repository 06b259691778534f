"""The application: global options, and how the process ends."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from mlcompare import __version__
from mlcompare.cli.exits import orderly_exit

__all__ = ["app", "main", "uncollected"]

app = typer.Typer(
    name="mlcompare",
    help="Fair, tuned comparison of metric-learning and classification-margin losses.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"mlcompare {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Launch studies, compare losses, browse trials."""


@contextmanager
def uncollected() -> Iterator[None]:
    """Leave garbage alone in a command that takes a second, a fifth of which went into looking through imports.

    That is done along the way, and once more when the process ends, for nothing: then all that is left is frozen.
    """
    collected = gc.isenabled()
    gc.disable()
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
    try:
        yield
    finally:
        if collected:
            gc.enable()


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; errors of ours become one line and exit code 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # an encoding that lacks a character shows `?` in its place
    with orderly_exit(debug="--debug" in arguments):
        app(args=arguments, prog_name="mlcompare")
