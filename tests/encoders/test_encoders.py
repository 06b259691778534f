"""Encoders: shapes, seeds, refusals."""

from __future__ import annotations

import pytest
import torch

from mlcompare.encoders import create_encoder, list_encoders
from mlcompare.errors import InvalidValueError, UnknownNameError

IMAGES, FEATURES = (1, 12, 10), (7,)


@pytest.mark.parametrize("spec", list_encoders(), ids=lambda spec: spec.name)
def test_every_encoder_embeds_and_learns(spec) -> None:
    shape = FEATURES if spec.takes == "features" else IMAGES
    size = 120 if spec.name == "identity" else 5
    encoder = create_encoder(spec.name, input_shape=shape, embedding_dim=size, seed=1)
    inputs = torch.rand(6, *shape, requires_grad=True)
    embeddings = encoder(inputs)
    assert embeddings.shape == (6, size)
    embeddings.square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in encoder.parameters())


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
        ("conv4", {"width": 0}, InvalidValueError),
        ("mlp", {"depth": 0}, InvalidValueError),
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
