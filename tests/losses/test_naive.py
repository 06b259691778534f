"""Every loss agrees with an independent reference: plain loops over samples, float64, to 1e-9."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcompare.registry import create_loss, get_spec, list_losses

from . import naive_heads, naive_pairs

NAIVE = {**naive_heads.NAIVE, **naive_pairs.NAIVE}
NAMES = [spec.name for spec in list_losses(provider="native") if spec.name != "up_term"]  # part of up_softmax
CLASSES, DIM = 5, 6
OPTIONS = [
    (name, option, choice)
    for name in NAMES
    for option, declared in get_spec(name).options.items()
    for choice in declared.choices or ()
    if choice != declared.default and option in ("sampling", "normalize", "soft_margin", "per_class", "mining")
]


def test_every_loss_has_a_reference():
    assert set(NAMES) == set(NAIVE)


def build(name, draw, **options):
    """Return the loss in float64 and eval mode, with hyperparameters drawn inside their search ranges."""
    settings_ = dict(options)
    for key, h in get_spec(name).hyperparameters.items():
        if h.searched:
            settings_[key] = (
                draw.choice(range(int(h.low), int(h.high) + 1)) if h.integer else draw.uniform(h.low, h.high)
            )
    generator = torch.Generator().manual_seed(draw.randrange(2**31))
    counts = [10, 8, 9, 2, 1]
    loss = create_loss(
        name, num_classes=CLASSES, embedding_dim=DIM, class_counts=counts, generator=generator, **settings_
    )
    loss.set_progress(draw.random())
    for key, state in loss.named_buffers():  # as after some training
        if key.endswith(("mean", "centers")):
            state.copy_(torch.randn(state.shape, generator=generator))
        if key.endswith(("variance", "mean_norm", "norm_deviation", "curriculum")):
            state.copy_(0.5 + torch.rand(state.shape, generator=generator))
    if hasattr(loss, "bias"):
        loss.bias.data.copy_(torch.randn(loss.bias.shape, generator=generator))
    return loss.double().eval()


def agree(name, draw, **options):
    loss = build(name, draw, **options)
    generator = torch.Generator().manual_seed(draw.randrange(2**31))
    size = draw.randint(2, 14)
    labels = torch.randint(0, CLASSES, (size,), generator=generator)
    embeddings = torch.randn(size, DIM, generator=generator, dtype=torch.float64)
    noise = loss.draw_noise(size, generator=generator)
    value = loss(embeddings, labels, noise).item()
    expected = NAIVE[name](loss, embeddings.numpy(), labels.numpy(), None if noise is None else noise.numpy())
    assert value == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31))
def test_value(name, seed):
    agree(name, random.Random(seed))


@pytest.mark.parametrize(("name", "option", "choice"), OPTIONS)
@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31))
def test_value_with_option(name, option, choice, seed):
    agree(name, random.Random(seed), **{option: choice})
