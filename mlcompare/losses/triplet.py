"""Triplet loss over every triplet of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from mlcompare.geometry import FAR
from mlcompare.losses.citation import cite
from mlcompare.losses.pair import Pairs, SampledLoss
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["HERMANS_BIBTEX", "Triplet", "batch_all_triplet"]

HERMANS_BIBTEX = cite(
    "hermans2017defense",
    "Hermans, Alexander and Beyer, Lucas and Leibe, Bastian",
    "In Defense of the Triplet Loss for Person Re-Identification",
    year=2017,
    arxiv="1703.07737",
)


def batch_all_triplet(pairs: Pairs, margin: Tensor) -> Tensor:
    """Return the mean of the active [d_ap − d_an + m]₊ over all triplets, in O(B² log B) time and O(B²) memory.

    With row a's negative distances sorted and summed up, the hinges of (a, p) that are active are its first k, and
    their sum is ``k·(d_ap + m) − Σ_{i<k} d_i``.
    """
    distances, positives, negatives = pairs
    ranked = torch.where(negatives, distances, FAR).sort(1).values  # (B, B), the anchor's negatives first
    limit = distances + margin  # (B, B)
    active = torch.searchsorted(ranked.detach(), limit.detach())  # (B, B): k, how many d_an < d_ap + m
    active = torch.where(positives, active, 0)
    summed = torch.where(ranked < FAR, ranked, 0.0).cumsum(1)  # (B, B)
    nearest = summed.gather(1, (active - 1).clamp_min(0))  # (B, B): Σ of the k smallest d_an
    hinges = torch.where(active > 0, active * limit - nearest, 0.0)
    return hinges.sum() / active.sum().clamp_min(1)


@register_loss(
    "triplet",
    family="metric",
    reference="Weinberger & Saul 2009; batch-all form of Hermans et al. 2017, arXiv:1703.07737",
    published=({"margin": 0.096}, {"margin": 0.119}, {"margin": 0.045}, {"margin": 0.137}),
    bibtex=HERMANS_BIBTEX,
)
class Triplet(SampledLoss):
    """Triplet loss, batch-all: the mean of the active ``[d_ap − d_an + m]₊`` over all triplets.

    d is the Euclidean distance of the normalised embeddings ``(B, D)``, so that it lies in [0, 2] and so does the unit
    of m. Source: the batch-all form of Hermans et al. 2017 with their non-zero mean, as commonly stated; the hinge is
    Weinberger & Saul's, on distances.

    It is not FaceNet's (:class:`~mlcompare.losses.semihard.TripletSemiHard`: squared distances, one negative for each
    pair), nor batch-hard (:class:`~mlcompare.losses.trihard.TriHard`). With ``sampling`` other than ``all``, one
    chosen negative meets each (a, p), and the mean is still over the active triplets.

    >>> import torch
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> round(Triplet(margin=0.2)(x, torch.tensor([0, 0, 1])).item(), 4)  # (√2 − 0 + m) and (√2 − √2 + m), mean
    0.9071
    """

    kind = "triplet"
    margin: float = Hyperparameter(0.2, low=0.05, high=0.5, minimum=0.0, symbol="m", unit="distance")

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        pairs = self.pairs(embeddings, labels)
        if self.sampling == "all":
            return batch_all_triplet(pairs, self.margin)
        negative = self.chosen_distances(pairs, self.margin, embeddings.shape[1], noise)  # (B, B)
        valid = pairs.positives & pairs.negatives.any(1, keepdim=True)
        hinge = torch.where(valid, pairs.distances - negative + self.margin, 0.0).clamp_min(0)
        return hinge.sum() / (hinge > 0).sum().clamp_min(1)
