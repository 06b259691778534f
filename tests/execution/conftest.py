"""The tiny study of tests.study."""

from tests.study.conftest import tiny

__all__ = ["tiny"]
