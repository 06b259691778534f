"""Long tails: rare classes get larger margins, larger logits to reach, or larger weights."""

import pytest
import torch

from mlcompare.losses.counts import effective_weights
from mlcompare.registry import create_loss

COUNTS = [625, 16, 1]
NAMES = ("ldam", "logit_adjusted_softmax", "class_balanced_softmax")


def loss_of(name, **values):
    loss = create_loss(name, num_classes=3, embedding_dim=3, class_counts=COUNTS, **values).double()
    loss.class_weights.data = torch.eye(3, dtype=torch.float64)
    return loss


def each_class(loss):
    """Return the loss of one sample of each class, all at the same angles to their classes."""
    rows = torch.eye(3, dtype=torch.float64) + 0.1
    return [loss(rows[k : k + 1], torch.tensor([k])).item() for k in range(3)]


@pytest.mark.parametrize("name", NAMES)
def test_a_rare_class_costs_more(name):
    frequent, middle, rare = each_class(loss_of(name, **({"reweighting": "none"} if name == "ldam" else {})))
    assert frequent < middle < rare


def test_margins_of_ldam_fall_with_the_fourth_root():
    loss = loss_of("ldam", margin=0.5, scale=1.0, reweighting="none")
    cosines = torch.full((1, 3), 3**-0.5, dtype=torch.float64)
    for k, margin in enumerate((0.1, 0.25, 0.5)):
        expected = torch.log(2 + torch.exp(torch.tensor(-margin, dtype=torch.float64))) + margin
        assert loss(cosines, torch.tensor([k])).item() == pytest.approx(expected.item(), rel=1e-9)


def test_the_weights_of_ldam_are_deferred():
    embeddings, labels = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)).double(), torch.arange(6) % 3
    loss, plain = loss_of("ldam"), loss_of("ldam", reweighting="none")
    loss.set_progress(0.79)
    assert loss(embeddings, labels).item() == pytest.approx(plain(embeddings, labels).item(), rel=1e-12)
    loss.set_progress(0.8)
    assert abs(loss(embeddings, labels).item() - plain(embeddings, labels).item()) > 0.01


def test_effective_weights_go_from_equal_to_inverse_counts():
    counts = torch.tensor(COUNTS, dtype=torch.float64)
    assert effective_weights(counts, torch.tensor(0.0)).tolist() == [1.0, 1.0, 1.0]
    inverse = 1 / counts
    close = effective_weights(counts, torch.tensor(0.999999, dtype=torch.float64))
    torch.testing.assert_close(close, inverse / inverse.mean(), rtol=1e-3, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_class_without_training_samples_counts_as_one(name):
    loss = create_loss(name, num_classes=3, embedding_dim=3, class_counts=[5, 0, 2])
    assert loss.counts.tolist() == [5, 1, 2]
    assert torch.isfinite(loss(torch.randn(3, 3), torch.tensor([0, 1, 2])))
