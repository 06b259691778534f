"""Every registered loss keeps the contract."""

import pytest

from mlcompare.registry import get_spec, list_losses
from mlcompare.testing import LossTestCase

NAMES = [spec.name for spec in list_losses(provider="native") if spec.name != "up_term"]  # means nothing without a head


class TestEveryLoss(LossTestCase):
    @pytest.fixture(autouse=True, params=NAMES)
    def _named(self, request):
        self.loss_name = request.param


COUNTED = ["class_balanced_softmax", "dynamic_arcface", "kappaface", "ldam", "logit_adjusted_softmax"]


class TestLongTails(LossTestCase):
    class_counts = (100, 10, 10, 2)

    @pytest.fixture(autouse=True, params=COUNTED)
    def _named(self, request):
        self.loss_name = request.param


class TestUnequalClasses(LossTestCase):
    loss_name = "up_softmax"
    class_counts = (10, 10, 10, 2)

    def test_gradient(self):
        pytest.skip("the level that weights are pulled to is held constant on purpose")


SAMPLED = [
    (name, sampling)
    for name in NAMES
    if "sampling" in get_spec(name).options
    for sampling in get_spec(name).options["sampling"].choices
]


class TestEverySampling(LossTestCase):
    @pytest.fixture(autouse=True, params=SAMPLED, ids=lambda pair: "-".join(pair))
    def _named(self, request):
        self.loss_name, sampling = request.param
        self.hyperparameters = {"sampling": sampling}
