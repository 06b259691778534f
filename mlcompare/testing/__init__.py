"""Conformance tests that outside authors inherit: one case for each kind of plug-in."""

from mlcompare.testing.losses import LossTestCase

__all__ = ["LossTestCase"]
