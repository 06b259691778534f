"""Every loss agrees with an independent reference: plain loops over samples, float64, to 1e-9."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcompare.registry import create_loss, get_spec, list_losses

from . import naive_faces, naive_heads, naive_labels, naive_long_tail, naive_noise, naive_pairs, naive_retrieval

REFERENCES = (naive_faces, naive_heads, naive_labels, naive_long_tail, naive_noise, naive_pairs, naive_retrieval)
NAIVE = {name: function for module in REFERENCES for name, function in module.NAIVE.items()}
NAMES = [spec.name for spec in list_losses(provider="native") if spec.name != "up_term"]  # part of up_softmax
CLASSES, DIM = 5, 6
WHOLE = (1, 2, 5)  # what an open whole-number option is tried with


def choices(option):
    """Return every choice of an option; of an open whole number a few."""
    return option.choices if option.choices is not None else WHOLE if isinstance(option.default, int) else ()


OPTIONS = [
    (name, key, choice)
    for name in NAMES
    for key, option in get_spec(name).options.items()
    for choice in choices(option)
    if choice != option.default
]


def test_every_option_has_a_choice_to_try():
    for name in NAMES:
        for key, option in get_spec(name).options.items():
            assert choices(option), f"{name}.{key}: no choices and no whole number: say here what it is tried with"


@pytest.mark.parametrize(("name", "option"), sorted({(name, option) for name, option, _ in OPTIONS}))
def test_every_reference_reads_the_option(name, option):
    """A reference that never looks at an option can't be a reference of it."""
    loss = build(name, random.Random(0))
    terms = getattr(loss, "terms", [loss])
    owner = next(term for term in terms if option in term.options)
    seen, kind = set(), type(owner)

    class Watched(kind):
        def __getattribute__(self, key):
            seen.add(key)
            return super().__getattribute__(key)

    embeddings = torch.randn(8, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(8) % CLASSES
    noise = loss.draw_noise(8)
    owner.__class__ = Watched
    NAIVE[name](loss, embeddings.numpy(), labels.numpy(), None if noise is None else noise.numpy())
    stored = {
        "subcenters": "class_weights",
        "centers": "class_weights",
        "learn_beta": "boundary",
    }
    gradient_only = option == "gradient"
    assert gradient_only or option in seen or stored.get(option) in seen


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
        else:
            near = h.default * draw.uniform(0.5, 1.5) if h.default else draw.random()
            near = min(max(near, h.minimum or 0.0), h.maximum or near)
            settings_[key] = round(near) if h.integer else near
    generator = torch.Generator().manual_seed(draw.randrange(2**31))
    counts = [10, 8, 9, 2, 1]
    loss = create_loss(
        name, num_classes=CLASSES, embedding_dim=DIM, class_counts=counts, generator=generator, **settings_
    )
    loss.set_progress(draw.random())
    for key, state in loss.named_buffers():  # as after some training
        if key.endswith(("mean", "centers", "memory", "direction")):
            state.copy_(torch.randn(state.shape, generator=generator))
        if key.endswith(("variance", "mean_norm", "norm_deviation", "curriculum")):
            state.copy_(0.5 + torch.rand(state.shape, generator=generator))
        if key.endswith("direction"):  # shorter than 1
            state.mul_(0.3)
        if key.endswith(("seen", "first")):
            state.copy_(torch.rand(state.shape, generator=generator).round())
        if key.endswith("stamp"):  # the last step of some classes, long ago or not
            state.copy_(-400 * torch.rand(state.shape, generator=generator))
    for key, weight in loss.named_parameters():
        if key == "bias":
            weight.data.copy_(torch.randn(weight.shape, generator=generator))
        if key in ("log_growth", "shift"):
            weight.data.copy_(0.5 * torch.randn(weight.shape, generator=generator))
        if key in ("learned_scale", "learned_alpha"):
            weight.data.copy_(5 + 20 * torch.rand(weight.shape, generator=generator))
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
