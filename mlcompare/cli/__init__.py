"""The command line: one thin function for each command."""

from mlcompare.cli import browse, describe, launch, registered, use
from mlcompare.cli.app import app, main

__all__ = ["app", "browse", "describe", "launch", "main", "registered", "use"]
