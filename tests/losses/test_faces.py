"""Losses for faces: what their margins, thresholds and memories do."""

import math

import pytest
import torch

from mlcompare.registry import create_loss

SIZES = {"num_classes": 4, "embedding_dim": 3}


def batch(size=12):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(size, 3, generator=generator, dtype=torch.float64), torch.arange(size) % 4


def loss_of(name, **values):
    return create_loss(name, **SIZES, generator=torch.Generator().manual_seed(1), **values).double()


@pytest.mark.parametrize(("name", "plain"), [("elastic_arcface", "combined_margin"), ("elastic_cosface", "cosface")])
@pytest.mark.parametrize("plus", [False, True])
def test_elastic_margins_of_no_spread_are_fixed_ones(name, plain, plus):
    fixed = {"m1": 1.0, "m2": 0.3, "m3": 0.0} if plain == "combined_margin" else {"margin": 0.3}
    elastic = loss_of(name, margin=0.3, deviation=0.0, scale=16.0, plus=plus)
    assert elastic(*batch()).item() == pytest.approx(loss_of(plain, scale=16.0, **fixed)(*batch()).item(), rel=1e-6)


def test_elastic_margins_have_the_mean_and_the_spread_that_are_asked_for():
    """A scale so small that the loss is linear in the margin: cos θ − m, with everything else the same."""
    loss = create_loss(
        "elastic_cosface", num_classes=2, embedding_dim=2, margin=0.3, deviation=0.1, scale=1e-3
    ).double()
    loss.class_weights.data = torch.eye(2, dtype=torch.float64)
    row, label, generator = torch.tensor([[1.0, 0.0]], dtype=torch.float64), torch.tensor([0]), torch.Generator()
    draws = torch.stack([loss(row, label, loss.draw_noise(1, generator=generator)) for _ in range(2000)]).detach()
    margins = ((draws - math.log(2)) / 0.5e-3 + 1) / 1.0  # −½·s·(cos θ − m) + log 2
    assert margins.mean().item() == pytest.approx(0.3, abs=0.01)
    assert margins.std().item() == pytest.approx(0.1, abs=0.01)


def test_elastic_plus_gives_the_largest_margin_to_the_farthest_sample():
    loss = loss_of("elastic_cosface", margin=0.3, deviation=0.05, plus=True, scale=1.0)
    loss.class_weights.data = torch.eye(4, 3, dtype=torch.float64)
    rows = torch.tensor([[1.0, 0.0, 0.5], [1.0, 0.0, 2.0], [1.0, 0.0, 1.0]], dtype=torch.float64)
    labels = torch.zeros(3, dtype=torch.long)
    up, down = (torch.tensor([numbers]).double().expand(3, 3) for numbers in ([0.1, 0.5, 0.9], [0.9, 0.1, 0.5]))
    assert loss(rows, labels, up).item() == loss(rows, labels, down).item()
    loss.plus = False
    handed = torch.tensor([[0.1, 0.9, 0.5]]).double().expand(3, 3)  # sample 1 is the farthest, sample 0 the nearest
    expected = loss(rows, labels, handed).item()
    loss.plus = True
    assert loss(rows, labels, up).item() == expected


def test_uniface_has_one_threshold_that_starts_by_the_number_of_classes():
    assert create_loss("uniface", num_classes=100, embedding_dim=3).bias.item() == pytest.approx(
        math.log(1000), rel=1e-6
    )
    loss = create_loss("uniface", num_classes=100, embedding_dim=3, share=0.1)
    assert loss.bias.item() == pytest.approx(math.log(100), rel=1e-6)
    assert loss.bias.shape == ()


def test_uniface_pulls_a_sample_however_far_it_is():
    loss = create_loss("uniface", num_classes=2, embedding_dim=3).double()
    loss.class_weights.data = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    theta = torch.tensor(math.radians(170.0), dtype=torch.float64, requires_grad=True)
    value = loss(torch.stack([theta.cos(), theta.sin(), 0 * theta])[None], torch.tensor([0]))
    assert torch.autograd.grad(value, theta)[0].item() == pytest.approx(64 * math.sin(theta.item()), rel=1e-6)


def test_dynamic_margins_follow_the_counts():
    plain = {"scale": 16.0}
    rare = create_loss("dynamic_arcface", **SIZES, class_counts=[1] * 4, a=0.3, b=0.1, **plain)
    many = create_loss("dynamic_arcface", **SIZES, class_counts=[16] * 4, a=0.3, b=0.1, **plain)
    for loss, margin in ((rare, 0.4), (many, 0.25)):
        arcface = create_loss("arcface", **SIZES, margin=margin, **plain).double()
        arcface.class_weights.data = loss.class_weights.data.double()
        assert loss.double()(*batch()).item() == pytest.approx(arcface(*batch()).item(), rel=1e-6)


def test_p2sgrad_has_the_papers_gradient():
    loss = loss_of("p2sgrad")
    x, labels = batch()
    x.requires_grad_()
    cosine = torch.nn.functional.normalize(x) @ torch.nn.functional.normalize(loss.class_weights).T
    slopes = (cosine - torch.nn.functional.one_hot(labels, 4)).detach()
    (expected,) = torch.autograd.grad((slopes * cosine).sum() / len(labels), x)
    torch.testing.assert_close(torch.autograd.grad(loss(x, labels), x)[0], expected, rtol=1e-9, atol=1e-12)
