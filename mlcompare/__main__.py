"""``python -m mlcompare``."""

from mlcompare.cli import main

if __name__ == "__main__":
    main()
