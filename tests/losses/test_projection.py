"""Products with normalised class weights: value, gradient and populations beside the plain formula."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.func import grad, vmap

from mlcompare.geometry import NORM_FLOOR
from mlcompare.losses.projection import cosines, project


def divided(rows: Tensor) -> Tensor:
    return rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min(NORM_FLOOR)


def plain_project(rows: Tensor, weights: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    products = rows @ divided(weights).T
    return products, products.gather(1, labels[:, None])


def plain_cosines(rows: Tensor, weights: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    return plain_project(divided(rows), weights, labels)


PAIRS = [pytest.param(project, plain_project, id="project"), pytest.param(cosines, plain_cosines, id="cosines")]


def inputs(smallest: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(6, 5, generator=generator, dtype=torch.float64)
    weights = torch.randn(4, 5, generator=generator, dtype=torch.float64)
    rows[0] *= smallest
    weights[1] *= smallest
    return rows, weights, torch.tensor([0, 1, 2, 3, 1, 1])


def weighed(found: tuple[Tensor, Tensor]) -> Tensor:
    """A number that every product has another part in, and the targets once more."""
    products, targets = found
    shares = torch.linspace(-1, 2, products.numel(), dtype=products.dtype).reshape(products.shape)
    return (shares * products.square()).sum() + targets.exp().sum()


@pytest.mark.parametrize(("ours", "plain"), PAIRS)
@pytest.mark.parametrize("smallest", [1.0, 1e-5, 0.0])
def test_value_and_gradient_are_those_of_the_plain_formula(ours, plain, smallest: float) -> None:
    rows, weights, labels = inputs(smallest)
    for mine, expected in zip(ours(rows, weights, labels), plain(rows, weights, labels)):
        torch.testing.assert_close(mine, expected, rtol=1e-12, atol=1e-12)
    found = grad(lambda x, w: weighed(ours(x, w, labels)), argnums=(0, 1))(rows, weights)
    expected = grad(lambda x, w: weighed(plain(x, w, labels)), argnums=(0, 1))(rows, weights)
    for mine, theirs in zip(found, expected):
        assert torch.isfinite(mine).all()
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("ours", "_plain"), PAIRS)
def test_members_of_a_population_have_their_own_gradients(ours, _plain) -> None:
    rows, weights, labels = inputs()
    many = (
        torch.stack([rows, 2 * rows - 1]),
        torch.stack([weights, weights.flip(0)]),
        torch.stack([labels, labels.flip(0)]),
    )
    gradient = grad(lambda x, w, y: weighed(ours(x, w, y)), argnums=(0, 1))
    together = vmap(gradient)(*many)
    alone = [gradient(*member) for member in zip(*many)]
    for stacked, single in zip(together, zip(*alone)):
        torch.testing.assert_close(stacked, torch.stack(single), rtol=1e-12, atol=1e-12)
