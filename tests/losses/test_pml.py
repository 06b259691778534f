"""The adapter finds every loss and miner of the installed pytorch-metric-learning and builds what can be built."""

import inspect
import pickle

import pytest
import torch
from pytorch_metric_learning import losses, miners

from mlcompare.errors import InvalidValueError, UnknownNameError
from mlcompare.registry import create_loss, get_spec, list_losses

SPECS = list_losses(provider="pml")
USABLE = [spec.name for spec in SPECS if not spec.broken]
WITHOUT_LABELS = {"pml/ManifoldLoss", "pml/VICRegLoss"}  # they refuse labels


def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(12, 8, generator=generator), torch.arange(12) % 4


def build(name, **values):
    values = {"margin": 0.4, "Tn": 10.0, **values} if name == "pml/RankedListLoss" else values
    return create_loss(name, num_classes=4, embedding_dim=8, generator=torch.Generator().manual_seed(0), **values)


def test_every_loss_class_is_there():
    base = losses.BaseMetricLossFunction
    classes = {n for n, c in vars(losses).items() if inspect.isclass(c) and issubclass(c, base)}
    assert classes - {"BaseMetricLossFunction", "GenericPairLoss"} <= {spec.name.removeprefix("pml/") for spec in SPECS}


@pytest.mark.parametrize("name", USABLE)
def test_loss_and_gradient_are_finite(name):
    if name in WITHOUT_LABELS:
        pytest.skip("takes no labels")
    embeddings, labels = batch()
    embeddings.requires_grad_()
    loss = build(name)
    value = loss(embeddings, labels)
    value.backward()
    assert value.shape == ()
    assert torch.isfinite(value)
    assert torch.isfinite(embeddings.grad).all()
    assert not get_spec(name).batched


def test_the_value_is_the_librarys():
    embeddings, labels = batch()
    ours, theirs = build("pml/TripletMarginLoss", margin=0.3), losses.TripletMarginLoss(margin=0.3)
    assert ours(embeddings, labels).item() == pytest.approx(theirs(embeddings, labels).item())
    mined = build("pml/TripletMarginLoss", margin=0.3, miner="BatchHardMiner")
    expected = theirs(embeddings, labels, miners.BatchHardMiner()(embeddings, labels))
    assert mined(embeddings, labels).item() == pytest.approx(expected.item())


def test_every_miner_is_offered():
    offered = get_spec("pml/TripletMarginLoss").options["miner"].choices
    classes = {n for n, c in vars(miners).items() if inspect.isclass(c) and issubclass(c, miners.BaseMiner)}
    assert set(offered) == {"none", *classes} - {"BaseMiner"}
    embeddings, labels = batch()
    for miner in offered:
        assert torch.isfinite(build("pml/TripletMarginLoss", miner=miner)(embeddings, labels)), miner


def test_numbers_and_switches_are_declared_by_their_own_names():
    spec = get_spec("pml/SubCenterArcFaceLoss")
    assert spec.defaults == {"margin": 28.6, "scale": 64, "sub_centers": 3}
    assert get_spec("pml/CosFaceLoss").defaults["margin"] == 0.35
    assert get_spec("pml/ProxyNCALoss").defaults == {"softmax_scale": 1}
    assert get_spec("pml/TripletMarginLoss").options["swap"].choices == (False, True)


def test_families():
    margin = {spec.name.removeprefix("pml/") for spec in SPECS if spec.family == "margin"}
    assert {"ArcFaceLoss", "CosFaceLoss", "NormalizedSoftmaxLoss", "SphereFaceLoss"} <= margin
    assert not margin & {"ProxyAnchorLoss", "ProxyNCALoss", "SoftTripleLoss", "TripletMarginLoss"}


def test_the_generator_draws_the_weights():
    first, second = build("pml/ArcFaceLoss"), build("pml/ArcFaceLoss")
    assert torch.equal(first.loss.W, second.loss.W)


def test_it_pickles():
    embeddings, labels = batch()
    loss = build("pml/ArcFaceLoss", scale=8.0)
    assert torch.equal(pickle.loads(pickle.dumps(loss))(embeddings, labels), loss(embeddings, labels))


def test_errors_say_what_is_missing():
    with pytest.raises(UnknownNameError, match="did you mean pml/ArcFaceLoss"):
        get_spec("pml/ArcFacLoss")
    with pytest.raises(InvalidValueError, match="`margin` must be given"):
        create_loss("pml/RankedListLoss")
    with pytest.raises(InvalidValueError, match="wraps another loss"):
        create_loss("pml/CrossBatchMemory")
    with pytest.raises(InvalidValueError, match="`num_classes` is needed"):
        create_loss("pml/ArcFaceLoss", embedding_dim=8)
    with pytest.raises(InvalidValueError, match="can't be computed"):
        build("pml/VICRegLoss")(*batch())
