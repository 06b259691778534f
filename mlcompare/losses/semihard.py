"""FaceNet's triplet loss with online semi-hard negatives."""

from __future__ import annotations

import torch
from torch import Tensor

from mlcompare.geometry import masked_mean
from mlcompare.losses.citation import cite
from mlcompare.losses.pair import PairLoss, semi_hard_distances
from mlcompare.losses.pairing import Pairing
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["TripletSemiHard"]


@register_loss(
    "triplet_semihard",
    family="metric",
    reference="Schroff et al. 2015, arXiv:1503.03832, eq. 3 and 4",
    aliases=("facenet",),
    bibtex=cite(
        "schroff2015facenet",
        "Schroff, Florian and Kalenichenko, Dmitry and Philbin, James",
        "FaceNet: A Unified Embedding for Face Recognition and Clustering",
        venue="Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition (CVPR)",
        year=2015,
        arxiv="1503.03832",
    ),
)
class TripletSemiHard(PairLoss):
    """FaceNet's triplet loss: the mean over positive pairs of ``[d²_ap − d²_an + m]₊`` with one semi-hard negative.

    For each (a, p) the negative is the hardest that is farther than p and within the margin,
    ``d²_ap < d²_an < d²_ap + m``; where there is none, the easiest negative of the anchor. Distances are squared, m is
    in their unit, and zeros count in the mean. It is not a loss over *all* semi-hard triplets (the "semihard" miner
    of pytorch-metric-learning), nor :class:`~mlcompare.losses.triplet.Triplet`, whose distances aren't squared.

    >>> x = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]])  # d²_ap = .4; from a: d²_an = .8, from p: .08
    >>> loss = TripletSemiHard(margin=0.5)(x, torch.tensor([0, 0, 1]))
    >>> round(loss.item(), 4)  # mean of .4 − .8 + .5 and .4 − .08 + .5 (p has an easiest negative only)
    0.46
    """

    group = "triplet"
    margin: float = Hyperparameter(0.2, low=0.05, high=0.5, minimum=0.0, symbol="m", unit="squared distance")

    def against(self, pairing: Pairing, noise: Tensor | None) -> Tensor:
        pairs = self.measured(pairing)
        squares = pairs.distances.square()  # (B, B)
        negative = semi_hard_distances(squares, pairs.negatives, self.margin)  # (B, B)
        valid = pairs.positives & pairs.negatives.any(1, keepdim=True)
        hinge = torch.where(valid, squares - negative + self.margin, 0.0).relu()
        return masked_mean(hinge, valid)
