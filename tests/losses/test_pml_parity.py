"""Where definitions agree, values and gradients equal pytorch-metric-learning's."""

import math

import pytest
import torch
from pytorch_metric_learning import losses, miners, reducers

from mlcompare.registry import create_loss

CLASSES, DIM = 6, 8
MEAN = {"reducer": reducers.MeanReducer()}
SIZES = {"num_classes": CLASSES, "embedding_size": DIM}


def batch(seed=0, per_class=4):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(CLASSES).repeat_interleave(per_class)
    embeddings = torch.randn(len(labels), DIM, generator=generator, dtype=torch.float64)
    return embeddings, labels[torch.randperm(len(labels), generator=generator)]


def value_and_gradient(loss, embeddings, labels, *mined):
    embeddings = embeddings.clone().requires_grad_()
    value = loss(embeddings, labels, *mined)
    value.backward()
    return value.item(), embeddings.grad


def assert_equal(ours, theirs, miner=None):
    for seed in range(3):
        embeddings, labels = batch(seed)
        mined = () if miner is None else (miner(embeddings, labels),)
        value, gradient = value_and_gradient(ours, embeddings, labels)
        expected, expected_gradient = value_and_gradient(theirs, embeddings, labels, *mined)
        assert value == pytest.approx(expected, rel=1e-6)
        torch.testing.assert_close(gradient, expected_gradient, rtol=1e-5, atol=1e-7)


PAIRS = {
    "triplet": ({"margin": 0.3}, lambda: losses.TripletMarginLoss(margin=0.3), None),
    "trihard": (
        {"margin": 0.3},
        lambda: losses.TripletMarginLoss(margin=0.3, **MEAN),
        miners.BatchHardMiner(),
    ),
    "lifted_structure": ({"margin": 1.2}, lambda: losses.LiftedStructureLoss(neg_margin=1.2, **MEAN), None),
    "generalized_lifted_structure": (
        {"margin": 1.2},
        lambda: losses.GeneralizedLiftedStructureLoss(neg_margin=1.2, **MEAN),
        None,
    ),
    "margin_based": (
        {"margin": 0.2, "beta": 1.1, "sampling": "all"},
        lambda: losses.MarginLoss(margin=0.2, beta=1.1),
        None,
    ),
    "multi_similarity": (
        {"alpha": 2.0, "beta": 30.0, "base": 0.4},
        lambda: losses.MultiSimilarityLoss(alpha=2.0, beta=30.0, base=0.4),
        miners.MultiSimilarityMiner(epsilon=0.1),
    ),
    "circle": ({"margin": 0.3, "gamma": 20.0}, lambda: losses.CircleLoss(m=0.3, gamma=20.0, **MEAN), None),
    "nt_xent": ({"temperature": 0.2}, lambda: losses.NTXentLoss(temperature=0.2), None),
    "supcon": ({"temperature": 0.2}, lambda: losses.SupConLoss(temperature=0.2), None),
    "tuplet_margin": ({"margin": math.radians(9), "scale": 20.0}, lambda: losses.TupletMarginLoss(9, 20), None),
    "threshold_consistent_term": (
        {"positive_margin": 0.8, "negative_margin": 0.2},
        lambda: losses.ThresholdConsistentMarginLoss(margin_plus=0.8, margin_minus=0.2),
        None,
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_pairs(name):
    values, build, miner = PAIRS[name]
    assert_equal(create_loss(name, **values), build(), miner)


HEADS = {
    "normface": ({"scale": 20.0}, lambda: losses.NormalizedSoftmaxLoss(temperature=0.05, **SIZES), "W"),
    "cosface": (
        {"margin": 0.3, "scale": 20.0},
        lambda: losses.CosFaceLoss(margin=0.3, scale=20.0, **SIZES),
        "W",
    ),
    "arcface": (
        {"margin": 0.5, "scale": 20.0},
        lambda: losses.ArcFaceLoss(margin=math.degrees(0.5), scale=20.0, **SIZES),
        "W",
    ),
    "subcenter_arcface": (
        {"margin": 0.5, "scale": 20.0},
        lambda: losses.SubCenterArcFaceLoss(margin=math.degrees(0.5), scale=20.0, sub_centers=3, **SIZES),
        "W",
    ),
    "proxy_anchor": (
        {"margin": 0.1, "alpha": 16.0},
        lambda: losses.ProxyAnchorLoss(margin=0.1, alpha=16.0, **SIZES),
        "proxies",
    ),
    "soft_triple": (
        {"scale": 20.0, "gamma": 0.1, "margin": 0.1},
        lambda: losses.SoftTripleLoss(la=20, gamma=0.1, margin=0.1, **SIZES),
        "fc",
    ),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads(name):
    values, build, weight_name = HEADS[name]
    ours = create_loss(name, num_classes=CLASSES, embedding_dim=DIM, **values).double()
    theirs = build()
    weights = ours.class_weights.detach().reshape(-1, DIM)
    getattr(theirs, weight_name).data = (weights if weight_name == "proxies" else weights.T).clone()
    assert_equal(ours, theirs)


def test_proxy_nca_differs_by_the_own_proxy_in_the_denominator():
    """PML's includes it, which is NormFace at twice the scale; ours follows the paper's equation."""
    theirs = losses.ProxyNCALoss(softmax_scale=8.0, **SIZES)
    same = create_loss("normface", scale=16.0, num_classes=CLASSES, embedding_dim=DIM).double()
    theirs.proxies.data = same.class_weights.detach().clone()
    assert_equal(same, theirs)
