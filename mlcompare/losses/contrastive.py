"""Contrastive loss over pairs, alone and beside identification (DeepID2)."""

from __future__ import annotations

import torch
from torch import Tensor

from mlcompare.geometry import masked_mean, scalar
from mlcompare.losses.citation import cite
from mlcompare.losses.pair import Pairs, SampledLoss
from mlcompare.losses.pairing import Pairing
from mlcompare.losses.softmax import Softmax
from mlcompare.losses.sums import register_sum
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["Contrastive"]


@register_loss(
    "contrastive",
    family="metric",
    reference="Hadsell et al. 2006, Dimensionality Reduction by Learning an Invariant Mapping, CVPR",
    bibtex=cite(
        "hadsell2006dimensionality",
        "Hadsell, Raia and Chopra, Sumit and LeCun, Yann",
        "Dimensionality Reduction by Learning an Invariant Mapping",
        venue="IEEE Computer Society Conference on Computer Vision and Pattern Recognition (CVPR)",
        year=2006,
    ),
)
class Contrastive(SampledLoss):
    """Contrastive loss: ``mean_P ½[d − m_p]₊² + mean_N ½[m − d]₊²`` over positive and over negative pairs.

    d is the Euclidean distance of the normalised embeddings ``(B, D)``; with m_p = 0 the hinges are Hadsell et al.'s
    (and DeepID2's). Both means are over all pairs of their side, zeros included: not the unsquared hinges with
    separate non-zero means of pytorch-metric-learning. With ``sampling`` other than ``all``, the negative pairs are
    those chosen for the positive ones, one each. The default margin is a choice of this package's; Musgrave et al.'s
    (2020) optima belong to pytorch-metric-learning's formula, which none of these settings is, and are not tried.

    >>> x = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6]])  # d² = .8 in P; .4 and .08 in N
    >>> loss = Contrastive(margin=0.4)(x, torch.tensor([0, 0, 1]))
    >>> round(loss.item(), 4)  # ½·.8 + mean(0, ½(.4 − √.08)²)
    0.4034
    """

    margin: float = Hyperparameter(0.5, low=0.3, high=1.6, minimum=0.0, symbol="m", unit="distance")
    positive_margin: float = Hyperparameter(0.0, low=0.0, high=0.5, minimum=0.0, symbol="m_p", unit="distance")

    def against(self, pairing: Pairing, noise: Tensor | None) -> Tensor:
        pairs = self.measured(pairing)
        if self.sampling == "all":
            return self._over_all_pairs(pairs)
        away = self.chosen_distances(pairs, self.margin, pairing.anchors.shape[1], noise)  # (B, B)
        met = pairs.positives & pairs.negatives.any(1, keepdim=True)
        pull = 0.5 * (pairs.distances - self.positive_margin).relu().square()
        push = 0.5 * (self.margin - away).relu().square()
        return masked_mean(pull, pairs.positives) + masked_mean(push, met)

    def _over_all_pairs(self, pairs: Pairs) -> Tensor:
        """Return both means at once: every pair has a margin, and a sign and a share (the root of it) of its mean."""
        distances, positives, negatives = pairs
        dtype = distances.dtype
        roots = [side.sum().clamp_min(1).to(dtype).rsqrt() for side in (positives, negatives)]
        share = torch.where(negatives, -roots[1], torch.where(positives, roots[0], 0.0))  # (B, M)
        margin = torch.where(negatives, scalar(self.margin).to(dtype), scalar(self.positive_margin).to(dtype))
        return 0.5 * (share * (distances - margin)).relu().square().sum()


register_sum(
    "deepid2",
    (Softmax, Contrastive),
    family="metric",
    reference="Sun et al. 2014, arXiv:1406.4773",
    overrides={
        "weight": Hyperparameter(
            0.05, low=0.001, high=1.0, log=True, minimum=0.0, symbol="λ", description="weight of verification"
        )
    },
    bibtex=cite(
        "sun2014deep",
        "Sun, Yi and Chen, Yuheng and Wang, Xiaogang and Tang, Xiaoou",
        "Deep Learning Face Representation by Joint Identification-Verification",
        venue="Advances in Neural Information Processing Systems (NeurIPS)",
        year=2014,
        arxiv="1406.4773",
    ),
    doc="""DeepID2: softmax (identification) plus λ times the contrastive loss (verification).

    The verification term is ``contrastive`` with its hyperparameters; λ = .05 was not checked against the paper.
    """,
)
