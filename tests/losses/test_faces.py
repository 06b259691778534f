"""Losses for faces: what their margins, thresholds and memories do."""

import copy
import math

import pytest
import torch

from mlcompare.losses.kappaface import concentration, margin_weights
from mlcompare.losses.qcface import norm_cost
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
    margins = (draws - math.log(2)) / 0.5e-3 + 1  # −½·s·(cos θ − m) + log 2
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


def test_vpl_mixes_the_newest_sample_in_while_it_is_fresh():
    """The same sample again and again: fresh for two steps after it was seen, then its class is its weight alone."""
    loss = create_loss("vpl", num_classes=2, embedding_dim=2, margin=0.0, scale=1.0, share=0.5, window=2).double()
    loss.class_weights.data = torch.eye(2, dtype=torch.float64)
    own = other = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    plain, mixed = math.log(1 + math.exp(1.0)), math.log(1 + math.exp(1 - math.sqrt(0.5)))
    loss.eval()
    assert loss(own, torch.tensor([0])).item() == pytest.approx(plain)
    loss.train()(own, torch.tensor([0]))
    for step in range(4):
        value = copy.deepcopy(loss).eval()(own, torch.tensor([0])).item()
        assert value == pytest.approx(mixed if step < 2 else plain), step
        loss(other, torch.tensor([1]))  # class 1 alone, on its weight


def test_vpl_waits_for_its_share_of_the_training_and_remembers_meanwhile():
    loss = loss_of("vpl", start=0.5)
    plain = loss_of("arcface")
    for progress in (0.0, 0.4):
        loss.set_progress(progress)
        assert loss(*batch()).item() == pytest.approx(plain(*batch()).item(), rel=1e-9)
    loss.set_progress(0.5)
    assert abs(loss(*batch()).item() - plain(*batch()).item()) > 0.01


def test_vpl_keeps_the_last_sample_of_each_class():
    loss = loss_of("vpl")
    rows, _ = batch(5)
    loss(rows, torch.tensor([1, 3, 1, 1, 3]))
    expected = torch.nn.functional.normalize(rows[[3, 4]])
    torch.testing.assert_close(loss.memory[[1, 3]], expected)
    assert not loss.memory[[0, 2]].any()
    assert loss.stamp[[1, 3]].tolist() == [0.0, 0.0]


def test_qcface_asks_sure_samples_to_be_long_and_unsure_ones_to_be_short():
    p = torch.tensor([[0.0], [0.5], [1.0]], dtype=torch.float64)
    for norms, best in ((torch.linspace(0.5, 120, 2400).double(), [1.0, 50.5, 100.0]),):
        costs = norm_cost(norms[None, :], p, torch.tensor(1.0), torch.tensor(100.0))  # (3, N)
        found = norms[costs.argmin(1)]
        torch.testing.assert_close(found, torch.tensor(best, dtype=torch.float64), rtol=0.1, atol=0.1)


def test_qcface_norms_are_those_of_512_dimensions():
    values = []
    for dim in (32, 512):
        loss = create_loss("qcface", num_classes=2, embedding_dim=dim).double()
        loss.class_weights.data = torch.eye(2, dim, dtype=torch.float64)
        x = torch.zeros(1, dim, dtype=torch.float64)
        x[0, :2] = 50 * math.sqrt(dim / 512) * torch.tensor([0.8, 0.6], dtype=torch.float64)
        values.append(loss(x, torch.tensor([0])).item())
    assert values[0] == pytest.approx(values[1], rel=1e-9)


def test_qcface_trains_the_norm_apart_from_the_direction():
    """The norm's part has no gradient across x, the margin's part none along it."""
    x, labels = batch()
    slopes = []
    for weight in (0.0, 1.0):
        rows = x.clone().requires_grad_()
        slopes.append(torch.autograd.grad(loss_of("qcface", weight=weight)(rows, labels), rows)[0])
    along = torch.nn.functional.normalize(x)
    assert (slopes[0] * along).sum(1).abs().max() < 1e-12
    norm_part = slopes[1] - slopes[0]
    torch.testing.assert_close(norm_part, (norm_part * along).sum(1, keepdim=True) * along, rtol=1e-9, atol=1e-12)
    assert norm_part.norm() > 0.1


def test_kappaface_gives_scattered_and_rare_classes_the_larger_margins():
    counts, same = torch.tensor([10.0, 10.0, 2.0]), torch.tensor(10.0)
    direction = torch.tensor([[0.9, 0.0], [0.5, 0.0], [0.9, 0.0]])
    close, scattered, rare = margin_weights(concentration(direction), counts, same, 0.4, 0.7).tolist()
    assert close < scattered
    assert close < rare
    assert all(0 < weight < 1 for weight in (close, scattered, rare))
    alike = margin_weights(torch.full((3,), 4.0), torch.full((3,), 10.0), same, 0.4, 1.0)
    assert alike.tolist() == [0.5, 0.5, 0.5]


def test_kappaface_averages_each_class_it_sees():
    loss = loss_of("kappaface", momentum=0.9)
    rows, _ = batch(3)
    loss(rows, torch.tensor([1, 1, 2]))
    rows = torch.nn.functional.normalize(rows)
    torch.testing.assert_close(loss.direction[1], 0.1 * (rows[0] + rows[1]) / 2)
    torch.testing.assert_close(loss.direction[2], 0.1 * rows[2])
    assert not loss.direction[[0, 3]].any()


def test_unitsface_starts_its_threshold_once_at_the_negatives_it_has():
    loss = loss_of("unitsface", scale=8.0, start=0.5)
    rows, labels = batch(4)
    loss.set_progress(0.4)
    plain = loss_of("cosface", margin=0.4, scale=8.0)(rows, labels).item()
    assert [loss(rows, labels).item() for _ in range(2)] == pytest.approx([plain] * 2, rel=1e-9)
    assert loss.threshold().item() == 0.0
    loss.set_progress(0.5)
    loss(rows, labels)
    cosines = torch.nn.functional.normalize(rows) @ torch.nn.functional.normalize(rows).T
    others = (8 * cosines)[~torch.eye(4, dtype=torch.bool)].reshape(4, 3)
    start = others.logsumexp(1).mean().item()
    assert loss.threshold().item() == pytest.approx(start, rel=1e-6)
    loss(-rows, labels)
    assert loss.threshold().item() == pytest.approx(start, rel=1e-6)


def test_unitsface_compares_with_seen_classes_alone():
    loss = loss_of("unitsface")
    rows, _ = batch(3)
    loss(rows[:2], torch.tensor([0, 1]))
    assert loss.seen.tolist() == [True, True, False, False]
    plain = loss_of("cosface", margin=0.4, scale=64.0)
    x = rows[2:]
    extra = loss.eval()(x, torch.tensor([3])).item() - plain(x, torch.tensor([3])).item()
    cosines = (torch.nn.functional.normalize(x) @ loss.memory[:2].T)[0]
    assert extra == pytest.approx(torch.log1p((64 * cosines).exp()).sum().item(), rel=1e-9)
