"""The command line: one thin function for each command."""

from mlcompare.cli import browse, launch, registered, use
from mlcompare.cli.app import app, main

__all__ = ["app", "browse", "launch", "main", "registered", "use"]
