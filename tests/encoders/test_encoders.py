"""Encoders: shapes, seeds, refusals."""

from __future__ import annotations

import pytest
import torch

from mlcompare.encoders import create_encoder, list_encoders
from mlcompare.errors import InvalidValueError, UnknownNameError

IMAGES, FEATURES = (1, 12, 10), (7,)
OPTIONS = {"resnet": {"depth": 10, "width": 4}, "l_softmax_net": {"width": 4}, "lenetpp": {"width": 4}}
SIZES = [(1, 4, 4), (3, 9, 31), (1, 28, 28), (3, 100, 97)]


@pytest.mark.parametrize("spec", list_encoders(), ids=lambda spec: spec.name)
def test_every_encoder_embeds_and_learns(spec) -> None:
    shape = FEATURES if spec.takes == "features" else IMAGES
    size = 120 if spec.name == "identity" else 5
    options = OPTIONS.get(spec.name, {})
    encoder = create_encoder(spec.name, input_shape=shape, embedding_dim=size, seed=1, **options)
    inputs = torch.rand(6, *shape, requires_grad=True)
    embeddings = encoder(inputs)
    assert embeddings.shape == (6, size)
    embeddings.square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in encoder.parameters())


@pytest.mark.parametrize("shape", SIZES, ids=str)
@pytest.mark.parametrize("name", [spec.name for spec in list_encoders() if spec.takes == "images"])
def test_images_of_any_size(name: str, shape: tuple[int, ...]) -> None:
    encoder = create_encoder(name, input_shape=shape, embedding_dim=5, **OPTIONS.get(name, {}))
    embeddings = encoder(torch.rand(3, *shape))
    assert embeddings.shape == (3, 5)
    assert torch.isfinite(embeddings).all()


@pytest.mark.parametrize("spec", list_encoders(), ids=lambda spec: spec.name)
def test_one_seed_one_network(spec) -> None:
    shape, size = (FEATURES if spec.takes == "features" else IMAGES), (120 if spec.name == "identity" else 5)
    build = {"input_shape": shape, "embedding_dim": size, **OPTIONS.get(spec.name, {})}
    one, two = (create_encoder(spec.name, seed=3, **build) for _ in range(2))
    assert all(a.equal(b) for a, b in zip(one.parameters(), two.parameters()))


def test_seed_decides_and_leaves_the_global_one_alone() -> None:
    torch.manual_seed(5)
    before = torch.rand(1)
    torch.manual_seed(5)
    one, two, three = (create_encoder("conv", input_shape=IMAGES, embedding_dim=3, seed=s) for s in (0, 0, 1))
    assert torch.rand(1).equal(before)
    weights = [next(encoder.parameters()) for encoder in (one, two, three)]
    assert weights[0].equal(weights[1])
    assert not weights[0].equal(weights[2])


@pytest.mark.parametrize(
    ("name", "options", "error"),
    [
        ("conv5", {}, UnknownNameError),
        ("conv", {"chanels": [3]}, UnknownNameError),
        ("conv", {"channels": []}, InvalidValueError),
        ("conv", {"channels": [0]}, InvalidValueError),
        ("conv", {"kernel": 4}, InvalidValueError),
        ("conv", {"kernel": -1}, InvalidValueError),
        ("conv", {"kernel": "5"}, InvalidValueError),
        ("conv4", {"width": 0}, InvalidValueError),
        ("mlp", {"depth": 0}, InvalidValueError),
        ("lenetpp", {"width": 1.5}, InvalidValueError),
        ("l_softmax_net", {"width": True}, InvalidValueError),
        ("resnet", {"depth": 20}, InvalidValueError),
        ("resnet", {"depth": True}, InvalidValueError),
        ("resnet", {"norm": "batch"}, InvalidValueError),
        ("resnet", {"attention": ["se"]}, InvalidValueError),
        ("resnet", {"pooling": "sum"}, InvalidValueError),
        ("tim:resnet18", {}, UnknownNameError),
        ("timm:", {}, UnknownNameError),
    ],
)
def test_bad_options_are_refused(name: str, options: dict, error: type) -> None:
    with pytest.raises(error):
        create_encoder(name, input_shape=IMAGES, embedding_dim=3, **options)


def test_kind_of_input_is_checked() -> None:
    with pytest.raises(InvalidValueError, match="takes images"):
        create_encoder("conv", input_shape=FEATURES, embedding_dim=3)
    with pytest.raises(InvalidValueError, match="must be the input's size, 7"):
        create_encoder("identity", input_shape=FEATURES, embedding_dim=3)
