"""Batch-hard triplet loss."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from mlcompare.geometry import masked_max, masked_mean, masked_min
from mlcompare.losses.pair import PairLoss
from mlcompare.losses.pairing import Pairing
from mlcompare.losses.triplet import HERMANS_BIBTEX
from mlcompare.registry import Hyperparameter, Option, register_loss

__all__ = ["TriHard"]


@register_loss(
    "trihard",
    family="metric",
    reference="Hermans et al. 2017, arXiv:1703.07737, eq. 5",
    aliases=("batch_hard",),
    bibtex=HERMANS_BIBTEX,
)
class TriHard(PairLoss):
    """TriHard (batch-hard triplet): the mean over anchors of ``[m + max_p d_ap − min_n d_an]₊``.

    Each of the P·K samples of a batch is an anchor that meets its farthest positive and its nearest negative; zeros
    count in the mean. Anchors that lack a positive or a negative are dropped. Distances are Euclidean, not squared;
    ``soft_margin`` replaces the hinge by softplus, without m.

    The defaults, a hinge at m = .2 on normalised embeddings, are this package's, so that it compares with the other
    triplet losses. The authors' training of Market-1501 (VisualComputingInstitute/triplet-reid, market1501_train.sh) is
    ``soft_margin=True, normalize=False`` with 18 classes of 4 samples in a batch; values were compared with the formula
    of its loss.py. It is not :class:`~mlcompare.losses.triplet.Triplet` with
    ``sampling="hard"``, which keeps every positive and averages over the active triplets only.

    >>> import torch
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> round(TriHard(margin=0.2)(x, torch.tensor([0, 0, 1])).item(), 4)  # (√2 − 0 + m) and (√2 − √2 + m), mean
    0.9071
    """

    group = "triplet"
    margin: float = Hyperparameter(0.2, low=0.05, high=1.0, minimum=0.0, symbol="m", unit="distance")
    soft_margin: bool = Option(False, choices=(False, True), description="softplus instead of the hinge (ignores m)")

    def against(self, pairing: Pairing, noise: Tensor | None) -> Tensor:
        distances, positives, negatives = self.measured(pairing)
        gap = masked_max(distances, positives) - masked_min(distances, negatives)  # (B,)
        hinge = F.softplus(gap) if self.soft_margin else (self.margin + gap).relu()
        return masked_mean(hinge, positives.any(1) & negatives.any(1))
