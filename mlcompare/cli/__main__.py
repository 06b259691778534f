"""``python -m mlcompare.cli``."""

from mlcompare.cli.app import main

main()
