"""State that papers update by their own rule: numbers worked out by hand, train mode only."""

import math

import numpy as np
import pytest
import torch

from mlcompare.errors import InvalidValueError
from mlcompare.registry import create_loss, list_losses

STATEFUL = [
    "adacos", "adaface", "ccl", "center_term", "curricularface", "deepvisage", "kappaface", "ring_term",
    "subcenter_arcface_drop", "unitsface", "vpl",
]  # fmt: skip


def loss_of(name, classes=3, dim=2, **values):
    return create_loss(
        name, num_classes=classes, embedding_dim=dim, generator=torch.Generator().manual_seed(0), **values
    )


def buffers(loss):
    return {name: buffer.clone() for name, buffer in loss.named_buffers()}


@pytest.mark.parametrize("name", STATEFUL)
def test_state_moves_in_train_mode_only(name):
    loss = loss_of(name)
    embeddings, labels = torch.tensor([[3.0, 1.0], [-2.0, 1.5], [0.5, -4.0]]), torch.tensor([0, 1, 2])
    before = buffers(loss)
    loss.eval()(embeddings, labels)
    assert all(torch.equal(before[k], v) for k, v in buffers(loss).items())
    loss.train()(embeddings, labels)
    assert any(not torch.equal(before[k], v) for k, v in buffers(loss).items())


def test_the_other_losses_have_no_moving_state():
    for spec in list_losses(provider="native"):
        if spec.name in STATEFUL or spec.group == "sum" or spec.name == "up_term":
            continue
        loss = loss_of(spec.name)
        before = buffers(loss)
        loss(torch.randn(6, 2), torch.arange(6) % 3)
        assert all(torch.equal(before[k], v) for k, v in buffers(loss).items()), spec.name


def test_centers_follow_the_papers_rule():
    loss = loss_of("center_term", alpha=0.5, weight=0.1)
    loss.centers.copy_(torch.tensor([[1.0, 1.0], [0.0, 2.0], [5.0, 5.0]]))
    embeddings = torch.tensor([[3.0, 1.0], [5.0, 1.0], [0.0, 0.0]], requires_grad=True)
    value = loss(embeddings, torch.tensor([0, 0, 1]))
    assert value.item() == pytest.approx(0.1 / 2 * (4 + 16 + 4) / 3)
    # Δc_0 = ((1−3, 0) + (1−5, 0)) / (1 + 2) = (−2, 0); Δc_1 = (0, 2) / (1 + 1) = (0, 1); class 2 is absent
    expected = torch.tensor([[2.0, 1.0], [0.0, 1.5], [5.0, 5.0]])
    torch.testing.assert_close(loss.centers, expected)
    value.backward()  # the gradient is of the loss before the update: λ(x − c)/B
    torch.testing.assert_close(embeddings.grad[0], torch.tensor([0.1 * 2 / 3, 0.0]))


def test_center_update_does_not_depend_on_lambda():
    moved = []
    for weight in (1e-4, 1.0):
        loss = loss_of("center_term", alpha=0.3, weight=weight)
        loss(torch.tensor([[2.0, 0.0]]), torch.tensor([1]))
        moved.append(loss.centers.clone())
    assert torch.equal(*moved)


def test_ring_radius_starts_at_the_first_mean_norm_and_stays():
    loss = loss_of("ring_term")
    labels = torch.tensor([0, 1])
    loss(torch.tensor([[3.0, 0.0], [0.0, 5.0]]), labels)
    loss(torch.tensor([[30.0, 0.0], [0.0, 50.0]]), labels)
    assert loss.radius().item() == pytest.approx(4.0)


def test_ring_radius_is_learned():
    loss = loss_of("ring_term", weight=1.0)
    loss(torch.tensor([[3.0, 0.0], [0.0, 3.0]]), torch.tensor([0, 1]))
    loss(torch.tensor([[5.0, 0.0], [0.0, 5.0]]), torch.tensor([0, 1])).backward()
    assert loss.offset.grad.item() == pytest.approx(-2.0)  # λ·mean(R − ‖x‖)


def test_ccl_and_deepvisage_average_the_moments():
    embeddings, labels = torch.tensor([[2.0, 0.0], [4.0, 0.0]]), torch.tensor([0, 1])
    for name, share in (("ccl", 0.99), ("deepvisage", 0.9)):
        loss = loss_of(name)
        loss(embeddings, labels)
        torch.testing.assert_close(loss.mean, torch.tensor([3.0 * (1 - share), 0.0]))
        torch.testing.assert_close(loss.variance, torch.tensor([share + (1 - share) * 1.0, share]))


def test_curricularface_averages_the_target_cosines():
    loss = loss_of("curricularface", classes=2)
    loss.class_weights.data.copy_(torch.eye(2))
    loss(torch.tensor([[1.0, 0.0], [0.6, 0.8]]), torch.tensor([0, 0]))
    assert loss.curriculum.item() == pytest.approx(0.01 * (1.0 + 0.6) / 2, rel=1e-6)


def test_adaface_norms_start_at_the_first_batch():
    loss = loss_of("adaface", classes=2)
    labels = torch.tensor([0, 1])
    loss(torch.tensor([[2.0, 0.0], [0.0, 4.0]]), labels)
    assert loss.mean_norm.item() == pytest.approx(3.0)
    assert loss.norm_deviation.item() == pytest.approx(math.sqrt(2.0))
    loss(torch.tensor([[12.0, 0.0], [0.0, 14.0]]), labels)
    assert loss.mean_norm.item() == pytest.approx(0.99 * 3 + 0.01 * 13)


def test_adacos_scale_is_the_papers():
    loss = loss_of("adacos", classes=4)
    start = math.sqrt(2) * math.log(3)
    assert loss.scale.item() == pytest.approx(start)
    embeddings = torch.tensor([[3.0, 1.0], [-2.0, 1.5], [0.5, -4.0]])
    labels = torch.tensor([0, 1, 2])
    cosines = loss.cosines(embeddings).detach().double()
    loss(embeddings, labels)
    average = sum(math.exp(start * cosines[i, j]) for i in range(3) for j in range(4) if j != labels[i]) / 3
    median = sorted(math.acos(cosines[i, labels[i]]) for i in range(3))[1]
    assert loss.scale.item() == pytest.approx(math.log(average) / math.cos(min(math.pi / 4, median)), rel=1e-5)


def test_sphereface2_starts_balanced():
    for alpha, classes in ((0.7, 100), (0.95, 2)):
        loss = loss_of("sphereface2", classes=classes, alpha=alpha)
        b, r, m = loss.bias.item(), 40.0, 0.4
        zero = 2 * 0.5**3 - 1
        pull = alpha / (1 + math.exp(r * (zero - m) + b))
        push = (1 - alpha) * (classes - 1) / (1 + math.exp(-r * (zero + m) - b))
        assert pull == pytest.approx(push, rel=1e-3)


def test_schedules_reach_the_papers_numbers():
    loss = loss_of("l_softmax")
    expected = {1_000: 421, 5_000: 16.2, 10_000: 0.41}
    for iteration, weight in expected.items():
        loss.set_progress(iteration / 30_000)
        assert loss.annealing_weight().item() == pytest.approx(weight, rel=0.02)
    loss = loss_of("sphereface")
    loss.set_progress(0.0)
    assert loss.annealing_weight().item() == pytest.approx(1000)
    loss.set_progress(1.0)
    assert loss.annealing_weight().item() == 5.0


def test_heated_up_cools_once():
    loss = loss_of("heated_up_softmax")
    scales = []
    for progress in (0.0, 0.79, 0.81, 1.0):
        loss.set_progress(progress)
        scales.append(loss.current_scale().item())
    assert scales == [16.0, 16.0, 4.0, 4.0]


def test_bounds_of_the_papers():
    """NormFace's floor is reached where classes are as far apart as they can be."""
    classes, scale = 3, 2.0
    loss = loss_of("normface", classes=classes, scale=scale)
    angles = torch.arange(classes) * 2 * math.pi / classes
    corners = torch.stack([angles.cos(), angles.sin()], dim=1)
    loss.class_weights.data.copy_(corners)
    floor = math.log(1 + (classes - 1) * math.exp(-scale * classes / (classes - 1)))
    assert loss(corners, torch.arange(classes)).item() == pytest.approx(floor, rel=1e-4)


@pytest.mark.parametrize("name", ["l_softmax", "sphereface", "heated_up_softmax", "center"])
def test_progress_is_a_share_of_the_training(name: str) -> None:
    loss = create_loss(name, num_classes=5, embedding_dim=4)
    for told in (0, 1, 0.25, torch.tensor(0.5), np.float32(0.75)):
        loss.set_progress(told)
        assert float(loss.progress) == pytest.approx(float(told))
    for wrong in (-0.1, 1.5, 300, float("nan")):
        with pytest.raises(InvalidValueError, match=r"`0 <= progress <= 1` must hold, got progress=.*step / steps"):
            loss.set_progress(wrong)
    assert float(loss.progress) == 0.75, "what is refused changes nothing"
