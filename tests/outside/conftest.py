"""The outside package is installed by its test, not imported by pytest."""

collect_ignore = ["mlcompare_zoo"]
