"""The command line: one thin function for each command."""

from mlcompare.cli import browse, challenge, launch, registered, use
from mlcompare.cli.app import app, main

__all__ = ["app", "browse", "challenge", "launch", "main", "registered", "use"]
