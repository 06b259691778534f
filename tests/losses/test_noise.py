"""Wrong labels: what a sample far from its class still weighs."""

import math

import pytest
import torch

from mlcompare.registry import create_loss


def slope(name, degrees, **values):
    """Return dL/dθ of one sample at θ from its class, the other class being at a right angle to the whole circle."""
    loss = create_loss(name, num_classes=2, embedding_dim=3, **values).double()
    loss.class_weights.data = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    theta = torch.tensor(math.radians(degrees), dtype=torch.float64, requires_grad=True)
    value = loss(torch.stack([theta.cos(), theta.sin(), 0 * theta])[None], torch.tensor([0]))
    return torch.autograd.grad(value, theta)[0].item()


@pytest.mark.parametrize("degrees", [20.0, 45.0, 46.0, 70.0, 150.0])
def test_sface_pulls_by_its_sigmoid_alone(degrees):
    theta = math.radians(degrees)
    expected = 64 * math.sin(theta) / (1 + math.exp(-80 * (theta - 0.8)))
    assert slope("sface", degrees) == pytest.approx(expected, rel=1e-9)


def test_generalised_cross_entropy_lies_between_cross_entropy_and_absolute_error():
    embeddings, labels = torch.randn(9, 4, generator=torch.Generator().manual_seed(0)).double(), torch.arange(9) % 3
    values = {}
    for q in (1e-7, 0.5, 1.0):
        generator = torch.Generator().manual_seed(1)
        loss = create_loss("generalised_cross_entropy", num_classes=3, embedding_dim=4, generator=generator, q=q)
        values[q] = loss.double()(embeddings, labels).item()
        logits = loss.logits(embeddings)
    p = logits.softmax(1).gather(1, labels[:, None])
    assert values[1e-7] == pytest.approx(-p.log().mean().item(), rel=1e-5)
    assert values[1.0] == pytest.approx((1 - p).mean().item(), rel=1e-9)
    assert values[1.0] < values[0.5] < values[1e-7]


def test_an_unlikely_label_pulls_less_than_under_cross_entropy():
    """Its gradient is that of cross-entropy times p_y^q."""
    rows = []
    for name, values in (("softmax", {}), ("generalised_cross_entropy", {"q": 0.7})):
        loss = create_loss(name, num_classes=2, embedding_dim=2, **values).double()
        loss.class_weights.data = torch.eye(2, dtype=torch.float64)
        x = torch.tensor([[0.0, 4.0]], dtype=torch.float64, requires_grad=True)
        rows.append(torch.autograd.grad(loss(x, torch.tensor([0])), x)[0])
    p = 1 / (1 + math.exp(4.0))
    torch.testing.assert_close(rows[1], rows[0] * p**0.7)


def test_samples_far_from_the_center_of_most_are_dropped():
    """A class's dominant sub-center is that of most samples; who is at the angle or farther from it is left out."""
    generator = torch.Generator().manual_seed(0)
    loss = create_loss("subcenter_arcface_drop", num_classes=3, embedding_dim=4, generator=generator).double()
    x = torch.randn(60, 4, dtype=torch.float64, generator=generator)
    labels = torch.arange(60) % 3
    loss.start = 1.0
    loss.set_progress(0.5)
    assert loss(x, labels).item() == pytest.approx(loss.each(x, labels).mean().item(), rel=1e-9), "not yet"
    centers = torch.nn.functional.normalize(loss.class_weights.detach(), dim=2)  # (C, K, D)
    kept = []
    for c in range(3):
        rows = (labels == c).nonzero().squeeze(1)
        cosines = torch.nn.functional.normalize(x[rows]) @ centers[c].T
        votes = torch.bincount(cosines.argmax(1), minlength=3)
        assert loss.assigned[c].tolist() == votes.tolist()
        kept += rows[cosines[:, votes.argmax()] > math.cos(math.radians(75))].tolist()
    assert 0 < len(kept) < 60
    loss.angle = math.radians(75)
    loss.set_progress(1.0)
    x.requires_grad_()
    value = loss(x, labels)
    assert value.item() == pytest.approx(loss.each(x, labels)[kept].mean().item(), rel=1e-9)
    (gradient,) = torch.autograd.grad(value, x)
    assert sorted(kept) == gradient.abs().sum(1).nonzero().squeeze(1).tolist()
    loss.angle = math.pi
    assert loss(x, labels).item() == pytest.approx(loss.each(x, labels).mean().item(), rel=1e-9)


def test_counts_of_sub_centers_fade_and_stay_in_evaluation():
    loss = create_loss("subcenter_arcface_drop", num_classes=2, embedding_dim=2, subcenters=2)
    loss.class_weights.data.copy_(torch.tensor([[[1.0, 0.0], [-1.0, 0.0]], [[0.0, 1.0], [0.0, -1.0]]]))
    x, labels = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]]), torch.tensor([0, 0, 0])
    loss(x, labels)
    loss(x, labels)
    torch.testing.assert_close(loss.assigned, torch.tensor([[1.99, 3.98], [0.0, 0.0]]))
    loss.eval()(x, labels)
    torch.testing.assert_close(loss.assigned, torch.tensor([[1.99, 3.98], [0.0, 0.0]]))
