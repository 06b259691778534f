"""The command line: one thin function for each command."""

from mlcompare.cli import browse, challenge, describe, init, launch, match, recommend, registered, use
from mlcompare.cli.app import app, main

__all__ = [
    "app", "browse", "challenge", "describe", "init", "launch", "main", "match", "recommend", "registered", "use",
]  # fmt: skip
