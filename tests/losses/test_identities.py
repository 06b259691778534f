"""Losses that reduce to each other do."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcompare.registry import create_loss

CLASSES, DIM = 5, 4


def value(name, seed, progress=1.0, **hyperparameters):
    """Return the loss in float64; the same seed gives the same class weights and batch."""
    generator = torch.Generator().manual_seed(seed)
    loss = create_loss(name, num_classes=CLASSES, embedding_dim=DIM, generator=generator, **hyperparameters).double()
    loss.set_progress(progress)
    generator.manual_seed(seed + 1)
    embeddings = torch.randn(9, DIM, generator=generator, dtype=torch.float64)
    return loss(embeddings, torch.arange(9) % CLASSES).item()


SCALE = st.floats(1.0, 100.0)
SEED = st.integers(0, 10_000)
ZERO = {
    "cosface": {"margin": 0.0},
    "arcface": {"margin": 0.0},
    "combined_margin": {"m1": 1.0, "m2": 0.0, "m3": 0.0},
    "sphereface_fnorm": {"margin": 1.0},
    "sphereface_r": {"margin": 1.0},
    "noise_resistant_softmax": {"margin": 0.0, "beta": 1.0},
    "subcenter_arcface": {"margin": 0.0, "subcenters": 1},
}


@pytest.mark.parametrize("name", ZERO)
@settings(max_examples=10, deadline=None)
@given(seed=SEED, scale=SCALE)
def test_without_a_margin_it_is_normface(name, seed, scale):
    assert value(name, seed, scale=scale, **ZERO[name]) == pytest.approx(value("normface", seed, scale=scale), rel=1e-9)


@settings(max_examples=10, deadline=None)
@given(seed=SEED, scale=SCALE, margin=st.floats(0.0, 0.6))
def test_combined_margin_is_cosface(seed, scale, margin):
    combined = value("combined_margin", seed, scale=scale, m1=1.0, m2=0.0, m3=margin)
    assert combined == pytest.approx(value("cosface", seed, scale=scale, margin=margin), rel=1e-9)


@settings(max_examples=10, deadline=None)
@given(seed=SEED, margin=st.integers(1, 4))
def test_sphereface_with_infinite_lambda_is_modified_softmax(seed, margin):
    soft = value("sphereface", seed, margin=margin, lambda_min=1e14)
    assert soft == pytest.approx(value("modified_softmax", seed), rel=1e-9)


@settings(max_examples=10, deadline=None)
@given(seed=SEED, start=SCALE, progress=st.floats(0.0, 1.0))
def test_heated_up_with_a_constant_scale_is_normface(seed, start, progress):
    heated = value("heated_up_softmax", seed, progress, start=start, factor=1.0)
    assert heated == pytest.approx(value("normface", seed, scale=start), rel=1e-9)


@settings(max_examples=10, deadline=None)
@given(seed=SEED)
def test_focal_without_focus_is_softmax(seed):
    assert value("focal", seed, gamma=0.0) == pytest.approx(value("softmax", seed), rel=1e-9)


def test_up_softmax_with_uniform_counts_is_softmax():
    assert value("up_softmax", 0) == pytest.approx(value("softmax", 0), rel=1e-12)


def test_deepid2_is_the_sum_of_its_terms():
    both, weight = value("deepid2", 0, weight=0.3), 0.3
    assert both == pytest.approx(value("softmax", 0) + weight * value("contrastive", 0), rel=1e-9)


INVARIANT = ["normface", "cosface", "arcface", "triplet", "trihard", "lifted_structure", "circle", "nt_xent", "supcon"]


@pytest.mark.parametrize("name", INVARIANT)
def test_normalised_losses_ignore_the_scale_of_embeddings(name):
    loss = create_loss(name, num_classes=CLASSES, embedding_dim=DIM).double()
    embeddings = torch.randn(9, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(9) % CLASSES
    torch.testing.assert_close(loss(3 * embeddings, labels), loss(embeddings, labels), rtol=1e-9, atol=0)


def test_detached_arcface_has_the_value_of_arcface_and_another_gradient():
    gradients = []
    for gradient in ("exact", "detached"):
        loss = create_loss(
            "arcface", num_classes=3, embedding_dim=2, generator=torch.Generator().manual_seed(0), gradient=gradient
        )
        embeddings = torch.tensor([[1.0, 0.3], [0.2, -1.0]], requires_grad=True)
        result = loss(embeddings, torch.tensor([0, 1]))
        gradients.append((result.item(), torch.autograd.grad(result, embeddings)[0]))
    assert gradients[0][0] == pytest.approx(gradients[1][0])
    assert not torch.allclose(gradients[0][1], gradients[1][1])


def test_proxies_and_centers_of_one_are_the_simple_heads():
    assert value("soft_triple", 3, centers=1, scale=20.0, margin=0.2) == pytest.approx(
        value("cosface", 3, scale=20.0, margin=0.2), rel=1e-9
    )


@pytest.mark.parametrize(
    ("name", "plain"), [("logit_adjusted_softmax", "softmax"), ("class_balanced_softmax", "softmax")]
)
def test_without_counts_a_long_tail_loss_is_softmax(name, plain):
    assert value(name, 0) == pytest.approx(value(plain, 0), rel=1e-9)
    counts = [7] * CLASSES
    assert value(name, 0, class_counts=counts) == pytest.approx(value(plain, 0), rel=1e-9)


def test_ldam_without_counts_is_cosface():
    margins = {"margin": 0.3, "scale": 20.0}
    assert value("ldam", 0, **margins) == pytest.approx(value("cosface", 0, **margins), rel=1e-9)
