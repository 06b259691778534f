"""``python -m mlcompare.cli``."""

from mlcompare.cli import main

main()
