"""Conformance tests that outside authors inherit: one case for each kind of plug-in.

Subclass the case of the kind, name what you registered, and let pytest find it::

    from mlcompare.testing import EncoderTestCase

    class TestMyNet(EncoderTestCase):
        name = "my_net"
"""

from mlcompare.testing.losses import LossTestCase
from mlcompare.testing.parts import (
    AugmentationTestCase,
    BaselineTestCase,
    DatasetTestCase,
    EncoderTestCase,
    MetricTestCase,
    OptimizerTestCase,
    SamplerTestCase,
    ScheduleTestCase,
    TrainerTestCase,
)

__all__ = [
    "AugmentationTestCase",
    "BaselineTestCase",
    "DatasetTestCase",
    "EncoderTestCase",
    "LossTestCase",
    "MetricTestCase",
    "OptimizerTestCase",
    "SamplerTestCase",
    "ScheduleTestCase",
    "TrainerTestCase",
]
