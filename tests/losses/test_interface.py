"""Losses outside a study: built by class, set after they are built, fed with labels as they come."""

import copy
import inspect
import pickle

import pytest
import torch
from torch.func import functional_call, vmap

import mlcompare.losses
from mlcompare.errors import InvalidValueError, UnknownNameError
from mlcompare.losses import ArcFace, Loss
from mlcompare.registry import create_loss, get_spec, list_losses

NATIVE = list_losses(provider="native")
CLASSES = {spec.factory.__name__: spec for spec in NATIVE if inspect.isclass(spec.factory)}
ALONE = [spec.name for spec in NATIVE if spec.name != "up_term"]
SIZES = {"num_classes": 3, "embedding_dim": 2}


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_is_exported_with_its_signature(name):
    cls, spec = getattr(mlcompare.losses, name), CLASSES[name]
    assert cls is spec.factory
    assert name in mlcompare.losses.__all__
    assert issubclass(cls, Loss)
    parameters = inspect.signature(cls).parameters
    for key, declared in {**spec.hyperparameters, **spec.options}.items():
        assert parameters[key].default == declared.default, key
    for need in spec.needs:
        assert parameters[need].default is inspect.Parameter.empty


def test_a_subclass_with_its_own_constructor_keeps_its_own_signature():
    class Mine(ArcFace):
        def __init__(self, classes):
            super().__init__(num_classes=classes, embedding_dim=2)

    assert list(inspect.signature(Mine).parameters) == ["classes"]
    assert Mine(3).num_classes == 3


def test_a_class_checks_what_it_is_given():
    with pytest.raises(UnknownNameError, match="did you mean margin"):
        ArcFace(**SIZES, margn=0.2)
    with pytest.raises(InvalidValueError, match="`embedding_dim` is needed"):
        ArcFace(num_classes=3)


@pytest.mark.parametrize("name", ALONE)
def test_every_hyperparameter_can_be_set(name):
    loss, fresh = create_loss(name, **SIZES), {}
    for key, h in get_spec(name).hyperparameters.items():
        if key in loss.fixed:
            continue
        fresh[key] = h.high if h.searched else h.default
        setattr(loss, key, fresh[key])
        assert float(getattr(loss, key)) == fresh[key], key
        with pytest.raises(InvalidValueError, match="must be finite"):
            setattr(loss, key, float("nan"))
    for built in (loss, copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert {key: float(getattr(built, key)) for key in fresh} == fresh


@pytest.mark.parametrize(
    ("name", "typo"), [("arcface", "margn"), ("center", "wieght"), ("deepid2", "positive_margins")]
)
def test_a_misspelled_hyperparameter_is_an_error(name, typo):
    with pytest.raises(UnknownNameError, match=f"unknown hyperparameter '{typo}'; did you mean"):
        setattr(create_loss(name, **SIZES), typo, 0.2)


def test_setting_a_value_is_building_with_it():
    embeddings, labels = torch.randn(6, 2, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3
    for name, values in {
        "arcface": {"margin": 0.2, "scale": 8.0, "easy_margin": True},
        "center": {"weight": 0.7},
        "deepid2": {"weight": 0.3, "margin": 0.9, "normalize": False},
        "triplet": {"sampling": "hard", "margin": 0.3},
    }.items():
        built, changed = (
            create_loss(name, generator=torch.Generator().manual_seed(1), **SIZES, **given) for given in (values, {})
        )
        for key, value in values.items():
            setattr(changed, key, value)
        assert changed(embeddings, labels).item() == pytest.approx(built(embeddings, labels).item(), rel=1e-9), name


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [("soft_triple", "centers", 3), ("subcenter_arcface", "subcenters", 2), ("normface", "learn_scale", True),
     ("l2_softmax", "learn_alpha", True), ("margin_based", "per_class", True), ("margin_based", "beta", 1.0)],
)  # fmt: skip
def test_what_weights_were_built_from_is_fixed(name, key, value):
    with pytest.raises(InvalidValueError, match="once the loss is built; build the loss with"):
        setattr(create_loss(name, **SIZES), key, value)


def test_other_attributes_and_tensors_are_the_users_business():
    loss = create_loss("arcface", **SIZES)
    loss.note, loss.training, loss.margin_of_error = "mine", False, 0.5
    loss.margin = torch.tensor(0.1, dtype=torch.float64)
    assert (loss.note, float(loss.margin)) == ("mine", 0.1)
    with pytest.raises(InvalidValueError, match="`easy_margin` must be one of"):
        loss.easy_margin = "always"


@pytest.mark.parametrize("name", ALONE)
def test_labels_of_any_width(name):
    loss = create_loss(name, class_counts=[9, 9, 1], **SIZES).eval()
    embeddings = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    noise = loss.draw_noise(6, generator=torch.Generator().manual_seed(0))
    values = [
        loss(embeddings, (torch.arange(6) % 3).to(kind), noise).item()
        for kind in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
    ]
    assert len(set(values)) == 1
    for kind in (torch.bool, torch.float32):
        with pytest.raises(InvalidValueError, match="`labels` must be integers"):
            loss(embeddings, torch.ones(6).to(kind))


@pytest.mark.parametrize("name", ALONE)
@pytest.mark.parametrize("wrong", [3, -1, -100])
def test_a_label_out_of_range_is_said(name, wrong):
    loss = create_loss(name, class_counts=[9, 9, 1], **SIZES)
    with pytest.raises(InvalidValueError, match=r"`0 <= labels < 3` must hold, got .*; encode the labels"):
        loss(torch.randn(4, 2), torch.tensor([0, 1, 2, wrong], dtype=torch.int16))


@pytest.mark.parametrize("name", ["arcface", "triplet"])
def test_what_is_no_tensor_is_said(name):
    loss = create_loss(name, num_classes=3, embedding_dim=4)
    embeddings, labels = torch.randn(6, 4), torch.arange(6) % 3
    with pytest.raises(InvalidValueError, match=r"`labels` must be a tensor, got ndarray; write torch.as_tensor"):
        loss(embeddings, labels.numpy())
    with pytest.raises(InvalidValueError, match=r"`embeddings` must be a tensor, got list"):
        loss(embeddings.tolist(), labels)


def test_without_classes_labels_are_any_integers():
    loss = create_loss("triplet")
    assert torch.isfinite(loss(torch.randn(4, 2), torch.tensor([-5, -5, 900, 900])))


def test_traced_code_looks_at_no_label():
    loss = create_loss("arcface", **SIZES)
    embeddings, labels = torch.randn(2, 4, 2), torch.tensor([[0, 1, 2, 0], [2, 1, 0, 2]])
    together = vmap(lambda x, y: functional_call(loss, {}, (x, y)))(embeddings, labels)
    alone = torch.stack([loss(x, y) for x, y in zip(embeddings, labels)])
    torch.testing.assert_close(together, alone)
    compiled = torch.compile(loss, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(embeddings[0], labels[0]), alone[0])
