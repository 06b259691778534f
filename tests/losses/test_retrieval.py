"""Losses for retrieval: what their lists, thresholds and hard triplets do."""

import math

import pytest
import torch

from mlcompare.losses.ranking import gaps, soft_ranks
from mlcompare.losses.roadmap import step
from mlcompare.registry import create_loss

LABELS = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2])


def batch(seed=0):
    return torch.randn(8, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), LABELS


def rankings(x):
    """Return for each anchor whether each place of its list of the others holds a positive."""
    rows = torch.nn.functional.normalize(x)
    scores = (rows @ rows.T).fill_diagonal_(-2)
    order = scores.argsort(1, descending=True)[:, :-1]
    return [(LABELS[order[a]] == LABELS[a]).tolist() for a in range(8)]


@pytest.mark.parametrize("seed", range(5))
def test_smooth_ap_becomes_average_precision(seed):
    x, labels = batch(seed)
    precisions = []
    for hits in rankings(x):
        found = [sum(hits[: place + 1]) / (place + 1) for place, hit in enumerate(hits) if hit]
        precisions.append(sum(found) / len(found))
    expected = 1 - sum(precisions) / len(precisions)
    assert create_loss("smooth_ap", temperature=1e-5)(x, labels).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_recall_at_k_counts_the_first_places(seed):
    x, labels = batch(seed)
    expected = []
    for anchor, hits in enumerate(rankings(x)):
        for k in (1, 2, 4, 8, 8):  # the last, 16, is as many as there are samples
            # a rank at k itself is on the step: it counts half
            count = sum(hits[: k - 1]) + 0.5 * (k <= len(hits) and hits[k - 1])
            expected.append(1 - count / min(k, int((LABELS[anchor] == LABELS).sum()) - 1))
    loss = create_loss("recall_at_k", temperature=1e-5, rank_temperature=1e-4)
    assert loss(x, labels).item() == pytest.approx(sum(expected) / len(expected), abs=1e-6)


@pytest.mark.parametrize("name", ["smooth_ap", "recall_at_k", "roadmap"])
def test_the_anchor_in_its_own_list_is_another_loss(name):
    values = [create_loss(name, query=query)(*batch()).item() for query in ("left_out", "counted")]
    assert values[0] != pytest.approx(values[1], rel=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_roadmap_bounds_average_precision_from_above(seed):
    x, labels = batch(seed)
    bound = create_loss("roadmap", weight=0.0)(x, labels).item()
    assert bound >= create_loss("smooth_ap", temperature=1e-6)(x, labels).item() - 1e-9


def test_the_step_of_roadmap_is_above_the_true_one_and_keeps_a_slope():
    gap = torch.tensor([-0.3, -1e-9, 1e-9, 0.049999999, 0.050000001, 1.0], dtype=torch.float64, requires_grad=True)
    heights = step(gap, 0.01, 100.0, 0.05)
    assert (heights >= (gap > 0).double()).all()
    assert heights[3].item() == pytest.approx(heights[4].item(), abs=1e-4)
    (slopes,) = torch.autograd.grad(heights.sum(), gap)
    assert slopes[-1].item() == 100.0


def test_soft_ranks_are_ranks():
    scores = torch.tensor([[0.3, 0.9, -0.5, 0.6]]).expand(4, 4)
    everyone = torch.ones(4, 4, dtype=torch.bool)
    ranks = soft_ranks(torch.sigmoid(gaps(scores) / 1e-3), everyone)
    torch.testing.assert_close(ranks[0], torch.tensor([3.0, 1.0, 4.0, 2.0]))


def test_sigmoid_pair_learns_its_scale_and_threshold_from_the_starts():
    fixed, learned = (create_loss("sigmoid_pair", learn=learn).double() for learn in (False, True))
    assert not list(fixed.parameters())
    assert {name for name, _ in learned.named_parameters()} == {"log_growth", "shift"}
    assert learned(*batch()).item() == fixed(*batch()).item()
    with torch.no_grad():
        learned.log_growth.fill_(math.log(2))
        learned.shift.fill_(3.0)
    other = create_loss("sigmoid_pair", learn=False, scale=20.0, bias=-7.0).double()
    assert learned(*batch()).item() == pytest.approx(other(*batch()).item(), rel=1e-6)


def test_decoupled_contrastive_is_nt_xent_without_the_positive_in_the_sum():
    x, labels = batch()
    rows = torch.nn.functional.normalize(x)
    scores = rows @ rows.T / 0.1
    gaps_ = []
    for a in range(8):
        push = scores[a][labels != labels[a]].logsumexp(0)
        gaps_ += [torch.logaddexp(push, scores[a, p]) - push for p in range(8) if p != a and labels[p] == labels[a]]
    nt_xent, dcl = (create_loss(name, temperature=0.1)(x, labels) for name in ("nt_xent", "decoupled_contrastive"))
    assert (nt_xent - dcl).item() == pytest.approx(torch.stack(gaps_).mean().item(), rel=1e-9)


def test_proxy_nca_pp_is_normface_at_twice_the_inverse_temperature():
    values = []
    for name, given in (("proxy_nca_pp", {"temperature": 0.125}), ("normface", {"scale": 16.0})):
        generator = torch.Generator().manual_seed(1)
        loss = create_loss(name, num_classes=3, embedding_dim=3, generator=generator, **given).double()
        values.append(loss(*batch()).item())
    assert values[0] == pytest.approx(values[1], rel=1e-9)


def test_ranked_list_leaves_pairs_on_their_sides_alone():
    x = torch.tensor([[1.0, 0.0], [1.0, 0.3], [-1.0, 0.0]], requires_grad=True)
    value = create_loss("ranked_list", alpha=1.2, margin=0.4)(x, torch.tensor([0, 0, 1]))
    assert value.item() == 0.0
    assert not torch.autograd.grad(value, x)[0].any()


def test_ranked_list_weighs_the_nearest_negative_most():
    x = torch.tensor([[1.0, 0.0], [0.9, 0.2], [0.6, 0.8]], dtype=torch.float64)
    labels, slopes = torch.tensor([0, 1, 2]), []
    for sharpness in (0.0, 30.0):
        loss = create_loss("ranked_list", negative_sharpness=sharpness, weight=1.0)
        slopes.append(loss(x, labels).item())
    assert slopes[0] < slopes[1]  # an even mean of the violations; nearly that of the nearest alone


def test_a_hard_triplet_only_pushes():
    """The positive at 90°, the negative at 45° of the anchor: the positive isn't pulled."""
    x = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]], dtype=torch.float64, requires_grad=True)
    loss = create_loss("selective_contrastive_triplet", weight=0.5)
    value = loss(x, torch.tensor([0, 0, 1]))
    # anchor 0 is hard: ½·√½; anchor 1 has s_an = s_ap = 0: an easy one, log 2; anchor 2 has no positive
    assert value.item() == pytest.approx((0.5 * math.sqrt(0.5) + math.log(2)) / 2, rel=1e-6)
    hard = create_loss("selective_contrastive_triplet", weight=0.5, limit=-1.0)(x, torch.tensor([0, 0, 1]))
    away = torch.nn.functional.normalize(x.detach())[2] * 0.5 / 2  # of its negative alone, nothing of its positive
    torch.testing.assert_close(torch.autograd.grad(hard, x)[0][1], away)


def test_a_term_of_thresholds_stands_beside_any_loss():
    from mlcompare.losses import LossEntry, Term

    entry = LossEntry("both", "sum", (Term("arcface"), Term("threshold_consistent_term")))
    [(_, loss)] = entry.build({"weight": 0.5}, num_classes=3, embedding_dim=3)
    x, labels = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3
    parts = loss.terms[0](x, labels) + loss.terms[1](x, labels)
    assert loss(x, labels).item() == pytest.approx(parts.item(), rel=1e-6)
    assert float(loss.terms[1].weight) == 0.5


def test_anti_collapse_is_uniformity_and_may_leave_pairs_of_one_class_alone():
    x, labels = batch()
    rows = torch.nn.functional.normalize(x)
    expected = torch.pdist(rows).square().mul(-2).exp().mean().log()
    loss = create_loss("anti_collapse", weight=1.0, sharpness=2.0)
    assert loss(x, labels).item() == pytest.approx(expected.item(), rel=1e-9)
    assert loss(x[:1].expand_as(x), labels).item() == pytest.approx(0.0, abs=1e-9), "one point: the most there is"
    loss.pairs = "different"
    x = x.clone().requires_grad_()
    one_class = loss(x, torch.zeros_like(labels))
    assert one_class.item() == 0.0
    assert not torch.autograd.grad(one_class, x)[0].any()
