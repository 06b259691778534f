"""Where the authors' code decides: values and gradients worked out from its formulas, at the places that differ."""

import math

import pytest
import torch

from mlcompare.registry import create_loss

from . import naive_heads


def on_a_circle(name, degrees, norm=1.0, others=1, **values):
    """Return value and dL/dθ of one sample at θ from its class; the second class lies at 90°, the rest across both."""
    classes, dim = 1 + others, 2 + others
    loss = create_loss(name, num_classes=classes, embedding_dim=dim, **values).double().eval()
    weights = torch.zeros(classes, dim, dtype=torch.float64)
    weights[0, 0] = weights[1, 1] = 1.0
    for number in range(2, classes):
        weights[number, number] = 1.0
    loss.class_weights.data = weights
    if name == "adaface":
        loss.mean_norm.fill_(1.0), loss.norm_deviation.fill_(0.01)
    theta = torch.tensor(math.radians(degrees), dtype=torch.float64, requires_grad=True)
    rest = torch.zeros(dim - 2, dtype=torch.float64)
    value = loss(norm * torch.cat([theta.cos()[None], theta.sin()[None], rest])[None], torch.tensor([0]))
    return value.item(), torch.autograd.grad(value, theta)[0].item()


@pytest.mark.parametrize("degrees", [1.0, 3.0, 11.0, 22.0])
def test_adaface_never_pushes_a_good_sample_away(degrees):
    """Inside m·z the moved angle is clipped: what is left is the pull away from the other class, s·p_1·cos θ ≥ 0."""
    value, gradient = on_a_circle("adaface", degrees, norm=10.0, margin=0.4)
    theta = math.radians(degrees)
    assert theta < 0.4
    target, other = 64 * (math.cos(0.001) - 0.8), 64 * math.sin(theta)
    assert value == pytest.approx(math.log1p(math.exp(other - target)), rel=1e-9)
    p = 1 / (1 + math.exp(target - other))
    assert gradient == pytest.approx(64 * p * math.cos(theta), rel=1e-9)


@pytest.mark.parametrize("norm", [10.0, 0.1])
@pytest.mark.parametrize("degrees", [30.0, 70.0, 150.0, 170.0])
def test_adaface_elsewhere_has_the_gradient_of_its_formula(norm, degrees):
    _, gradient = on_a_circle("adaface", degrees, norm=norm)
    ahead, behind = (on_a_circle("adaface", degrees + step, norm=norm)[0] for step in (1e-4, -1e-4))
    assert gradient == pytest.approx((ahead - behind) / math.radians(2e-4), rel=1e-5, abs=1e-5)


def test_adaface_clips_norms_before_the_statistics():
    loss = create_loss("adaface", num_classes=2, embedding_dim=2)
    loss(torch.tensor([[1000.0, 0.0], [0.0, 50.0]]), torch.tensor([0, 1]))
    assert loss.mean_norm.item() == pytest.approx(75.0)


@pytest.mark.parametrize(("easy", "value"), [(True, 87.4256), (False, 113.8058)])
def test_magface_behind_a_right_angle(easy, value):
    """a = 60 of D = 512 is m = .625; cos 120° and, without the easy margin, past π − m: cos θ − m·sin m."""
    loss = create_loss("magface", num_classes=2, embedding_dim=512, weight=0.0, easy_margin=easy).double()
    loss.class_weights.data = torch.eye(2, 512, dtype=torch.float64)
    angle = torch.tensor(math.radians(120.0), dtype=torch.float64)
    x = torch.zeros(1, 512, dtype=torch.float64)
    x[0, 0], x[0, 1] = 60 * angle.cos(), 60 * angle.sin()
    assert loss(x, torch.tensor([0])).item() == pytest.approx(value, abs=1e-3)


def test_magface_is_that_of_512_dimensions_at_norms_scaled_alike():
    """Bounds and λ_g scale with √(D/512): margin, logits and λ_g·g(a) don't depend on D."""
    values = []
    for dim in (2, 32, 512):
        loss = create_loss("magface", num_classes=2, embedding_dim=dim).double()
        loss.class_weights.data = torch.eye(2, dim, dtype=torch.float64)
        x = torch.zeros(1, dim, dtype=torch.float64)
        x[0, :2] = 50 * math.sqrt(dim / 512) * torch.tensor([0.8, 0.6], dtype=torch.float64)
        values.append(loss(x, torch.tensor([0])).item())
    assert values[:2] == pytest.approx(values[2:] * 2, rel=1e-9)


@pytest.mark.parametrize(
    ("degrees", "detached", "exact"), [(120, 24.249, 4.547), (150, 14.0, 0.1885), (170, 4.862, 0.000842)]
)
def test_sphereface2_gradients(degrees, detached, exact):
    """Far from its class a sample's σ(−a) is 1: α·r·sin θ through cos θ alone; times g′ = 3·((1 + cos θ)/2)² exactly.

    The other classes lie at a right angle to the whole circle and pull nowhere.
    """
    for gradient, expected in (("detached", detached), ("exact", exact)):
        loss = create_loss("sphereface2", num_classes=50, embedding_dim=3, gradient=gradient).double()
        loss.class_weights.data = torch.tensor([[1.0, 0.0, 0.0]] + 49 * [[0.0, 0.0, 1.0]], dtype=torch.float64)
        theta = torch.tensor(math.radians(degrees), dtype=torch.float64, requires_grad=True)
        value = loss(torch.stack([theta.cos(), theta.sin(), 0 * theta])[None], torch.tensor([0]))
        assert torch.autograd.grad(value, theta)[0].item() == pytest.approx(expected, rel=1e-3), gradient


def test_sphereface2_options_have_one_value():
    assert (
        on_a_circle("sphereface2", 75.0, others=4)[0] == on_a_circle("sphereface2", 75.0, others=4, gradient="exact")[0]
    )
    assert not create_loss("sphereface2", num_classes=2, embedding_dim=2).exact_gradient
    assert create_loss("sphereface2", num_classes=2, embedding_dim=2, gradient="exact").exact_gradient


@pytest.mark.parametrize(("choice", "value"), [("after_margin", 16.0525), ("before_margin", 17.8361)])
def test_noise_resistant_pseudo_labels(choice, value):
    """At 40° the plain cosine still says class 0; after the margin class 1 is ahead, and takes a tenth."""
    assert on_a_circle("noise_resistant_softmax", 40.0, pseudo_label=choice)[0] == pytest.approx(value, abs=1e-3)


def test_dispersion_of_three_images_each():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(21, 5, generator=generator, dtype=torch.float64), torch.arange(7).repeat_interleave(3)
    rows = torch.nn.functional.normalize(x, dim=1).reshape(7, 3, 5).mean(1)
    cosines = torch.nn.functional.normalize(rows, dim=1) @ torch.nn.functional.normalize(rows, dim=1).T
    expected = (cosines - torch.eye(7, dtype=torch.float64)).square().mean().item()
    assert create_loss("dispersion_term", weight=5.0)(x, y).item() == pytest.approx(5 * expected, rel=1e-9)


@pytest.mark.parametrize("name", ["arcface", "noise_resistant_softmax", "curricularface", "subcenter_arcface"])
@pytest.mark.parametrize("easy", [False, True])
def test_detached_margins_go_straight_through(name, easy):
    """With ``gradient="detached"`` the target's cosine has the slope of a plain one: s(p_y − 1)."""
    values = {"margin": 0.5, "scale": 8.0, "easy_margin": easy, "gradient": "detached"}
    if name == "noise_resistant_softmax":
        values["beta"] = 1.0
    if name == "subcenter_arcface":
        values["subcenters"] = 1
    loss = create_loss(name, num_classes=3, embedding_dim=4, **values).double().eval()
    x = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2), requires_grad=True)
    labels = torch.tensor([0, 1, 2, 0, 1])
    (gradient,) = torch.autograd.grad(loss(x, labels), x)
    logits = loss.margin_logits(x, labels)
    cosines = torch.nn.functional.normalize(x) @ torch.nn.functional.normalize(loss.class_weights.flatten(0, -2)).T
    p = logits.detach().softmax(1) - torch.nn.functional.one_hot(labels, 3)
    slopes = torch.full_like(p, 8.0)
    if name == "curricularface":
        moved = torch.cos(cosines.gather(1, labels[:, None]).acos() + 0.5)
        hard = (cosines > moved).scatter(1, labels[:, None], False)
        slopes = torch.where(hard, 8.0 * 2 * cosines, slopes).detach()
    (expected,) = torch.autograd.grad((p * slopes * cosines).sum() / 5, x)
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)


def test_combined_margin_may_ease_the_angle():
    loss = create_loss("combined_margin", num_classes=3, embedding_dim=4, m1=0.9, m2=0.4, m3=0.15).double()
    x = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 0, 1])
    expected = naive_heads.NAIVE["combined_margin"](loss, x.numpy(), labels.numpy(), None)
    assert loss(x, labels).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("per_class", [False, True])
def test_margin_based_presses_beta_inside_the_division(per_class):
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.6, 0.8]])
    for beta, hinges, active in ((1.2, 2 * (0.2 - (math.sqrt(0.8) - 1.2)), 2), (0.1, 2 * 0.1, 2), (0.6, 0.0, 0)):
        values = {"nu": 0.5, "margin": 0.2, "beta": beta, "sampling": "all", "per_class": per_class}
        loss = create_loss("margin_based", num_classes=2, **values)
        # triplets (0, 1, 2) and (1, 0, 2) with d_ap = 0 and d_an = √.8: ν·Σβ = .5·2β
        expected = (hinges + beta) / max(active, 1)
        assert loss(x, torch.tensor([0, 0, 1])).item() == pytest.approx(expected, abs=1e-5)
