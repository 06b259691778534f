"""The adapter finds every loss and miner of the installed pytorch-metric-learning and builds what can be built."""

import inspect
import pickle

import pytest
import torch
from pytorch_metric_learning import losses, miners

from mlcompare.errors import InvalidValueError, UnknownNameError
from mlcompare.losses.pml_ranges import RANGES
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
    own = {name: value for name, value in spec.defaults.items() if not name.startswith("miner_")}
    assert own == {"margin": 28.6, "scale": 64, "sub_centers": 3}
    assert get_spec("pml/CosFaceLoss").defaults["margin"] == 0.35
    assert get_spec("pml/ProxyNCALoss").defaults["softmax_scale"] == 1
    assert get_spec("pml/TripletMarginLoss").options["swap"].choices == (False, True)


def test_ranges_are_of_numbers_that_exist_and_hold_the_default():
    for name, ranges in RANGES.items():
        declared = get_spec(f"pml/{name}").hyperparameters
        for argument, range_ in ranges.items():
            assert declared[argument].low == range_.low, f"{name} has no {argument}"
            if (
                declared[argument].default < range_.low
            ):  # a default of 1 for scales and the like is where a search begins
                assert declared[argument].default >= 0
    searched = {spec.name for spec in SPECS if any(h.searched for h in spec.hyperparameters.values())}
    own = {spec.name: {k for k in spec.hyperparameters if not k.startswith("miner_")} for spec in SPECS}
    numbers = {spec.name for spec in SPECS if own[spec.name] and not spec.broken}
    assert searched == numbers, "each loss with a number has one that is searched"


@pytest.mark.parametrize("end", ["low", "high"])
@pytest.mark.parametrize("name", sorted(RANGES))
def test_a_loss_works_at_the_ends_of_its_ranges(name, end):
    if f"pml/{name}" in WITHOUT_LABELS:
        pytest.skip("takes no labels")
    values = {argument: getattr(range_, end) for argument, range_ in RANGES[name].items()}
    embeddings, labels = batch()
    assert torch.isfinite(build(f"pml/{name}", **values)(embeddings, labels))


def test_miners_take_arguments():
    embeddings, labels = batch()
    cases = {"MultiSimilarityMiner": {"epsilon": -0.5},
             "TripletMarginMiner": {"margin": 0.6, "type_of_triplets": "hard"},
             "BatchEasyHardMiner": {"pos_strategy": "hard", "neg_strategy": "easy"},
             "UniformHistogramMiner": {"num_bins": 20}}  # fmt: skip
    for miner, given in cases.items():
        ours = build("pml/ContrastiveLoss", miner=miner, **{f"miner_{name}": value for name, value in given.items()})
        for name, value in given.items():
            assert getattr(ours.miner, name, value) == value
        plain = build("pml/ContrastiveLoss", miner=miner)
        if miner != "UniformHistogramMiner":  # draws
            expected = losses.ContrastiveLoss()(embeddings, labels, getattr(miners, miner)(**given)(embeddings, labels))
            assert ours(embeddings, labels).item() == pytest.approx(expected.item())
            assert ours(embeddings, labels).item() != pytest.approx(plain(embeddings, labels).item())


def test_an_argument_of_another_miner_is_refused():
    with pytest.raises(InvalidValueError, match="BatchHardMiner takes no `epsilon`"):
        build("pml/ContrastiveLoss", miner="BatchHardMiner", miner_epsilon=0.2)
    with pytest.raises(InvalidValueError, match="none takes no `type_of_triplets`"):
        build("pml/ContrastiveLoss", miner_type_of_triplets="hard")


def test_names_of_miners_arguments_mean_one_thing():
    """A name shared by two miners has one default, so that one declaration serves both."""
    seen = {}
    for name, cls in vars(miners).items():
        if inspect.isclass(cls) and issubclass(cls, miners.BaseMiner) and name != "BaseMiner":
            for argument, parameter in inspect.signature(cls.__init__).parameters.items():
                if isinstance(parameter.default, int | float | str):
                    assert seen.setdefault(argument, parameter.default) == parameter.default, argument


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
