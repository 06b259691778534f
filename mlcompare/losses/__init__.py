"""Every loss of the field under one contract, one file for each idea. Importing this package registers them all."""

from mlcompare.losses import (
    arcface,
    center,
    contrastive,
    cosface,
    lifted_structure,
    margin_based,
    normface,
    softmax,
    trihard,
    triplet,
)
from mlcompare.losses.base import Loss
from mlcompare.losses.head import Head, MarginHead

__all__ = [
    "Head",
    "Loss",
    "MarginHead",
    "arcface",
    "center",
    "contrastive",
    "cosface",
    "lifted_structure",
    "margin_based",
    "normface",
    "softmax",
    "trihard",
    "triplet",
]
