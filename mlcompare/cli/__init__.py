"""The command line: one thin function for each command."""

from mlcompare.cli.app import app, main

__all__ = ["app", "main"]
