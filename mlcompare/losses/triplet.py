"""Triplet loss over every triplet of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from mlcompare.geometry import FAR, Number
from mlcompare.losses.citation import cite, reality_check
from mlcompare.losses.pair import Pairs, SampledLoss
from mlcompare.losses.pairing import Pairing
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["HERMANS_BIBTEX", "Triplet", "active_triplets", "batch_all_triplet"]

HERMANS_BIBTEX = cite(
    "hermans2017defense",
    "Hermans, Alexander and Beyer, Lucas and Leibe, Bastian",
    "In Defense of the Triplet Loss for Person Re-Identification",
    year=2017,
    arxiv="1703.07737",
)
WEINBERGER_BIBTEX = cite(
    "weinberger2009distance",
    "Weinberger, Kilian Q. and Saul, Lawrence K.",
    "Distance Metric Learning for Large Margin Nearest Neighbor Classification",
    journal="Journal of Machine Learning Research",
    year=2009,
)


def batch_all_triplet(pairs: Pairs, margin: Number) -> Tensor:
    """Return the mean of the active [d_ap − d_an + m]₊ over all triplets; see :func:`active_triplets`."""
    total, active = active_triplets(pairs, margin)
    return total / active.clamp_min(1)


def active_triplets(pairs: Pairs, margin: Number) -> tuple[Tensor, Tensor]:
    """Return the sum of the active [d_ap − d_an + m]₊ over all triplets, and how many there are.

    It takes O(B² log B) time and O(B²) memory.

    The sum of the active hinges is ``Σ_ap k_ap·(d_ap + m) − Σ_an c_an·d_an``, where k_ap counts the negatives nearer
    than d_ap + m and c_an the positives p with d_ap + m farther than d_an. Sorting each row once gives both counts, and
    they are constants to the gradient: no sort, gather or cumulative sum runs backwards.
    """
    distances, positives, negatives = pairs
    with torch.no_grad():
        key = torch.where(positives, distances + margin, torch.where(negatives, distances, FAR))  # (B, M): others last
        order = key.argsort(1)  # (B, B)
        is_negative = negatives.gather(1, order)
        nearer = is_negative.cumsum(1)  # (B, B): negatives up to each place
        place = torch.arange(1, key.shape[1] + 1, device=key.device)  # (M,)
        farther = positives.sum(1, keepdim=True) - (place - nearer)  # (B, B): positives behind each place
        counts = torch.where(is_negative, -farther, nearer)
        counts = torch.zeros_like(counts).scatter(1, order, counts)  # (B, B): k_ap and −c_an where they belong
        counts = torch.where(positives | negatives, counts, 0)
        active = torch.where(positives, counts, 0).sum()
    return (counts * distances).sum() + margin * active, active


@register_loss(
    "triplet",
    family="metric",
    reference="Weinberger & Saul 2009; batch-all form of Hermans et al. 2017, arXiv:1703.07737",
    published=tuple(reality_check(margin=value) for value in (0.096, 0.119, 0.045, 0.137)),
    bibtex=WEINBERGER_BIBTEX + "\n\n" + HERMANS_BIBTEX,
)
class Triplet(SampledLoss):
    """Triplet loss, batch-all: the mean of the active ``[d_ap − d_an + m]₊`` over all triplets.

    d is the Euclidean distance of the normalised embeddings ``(B, D)``, so that it lies in [0, 2] and so does the unit
    of m. The batch-all form is that of the authors' code of Hermans et al. 2017
    (VisualComputingInstitute/triplet-reid), on normalised embeddings and with the mean over the active triplets, which
    Musgrave et al.'s optima are for as well; the hinge is Weinberger & Saul's, on distances, not checked against their
    paper. m = .2 is a choice of this package's.

    It is not FaceNet's (:class:`~mlcompare.losses.semihard.TripletSemiHard`: squared distances, one negative for each
    pair), nor batch-hard (:class:`~mlcompare.losses.trihard.TriHard`). With ``sampling`` other than ``all``, one
    chosen negative meets each (a, p), and the mean is still over the active triplets.

    >>> import torch
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> round(Triplet(margin=0.2)(x, torch.tensor([0, 0, 1])).item(), 4)  # (√2 − 0 + m) and (√2 − √2 + m), mean
    0.9071
    """

    group = "triplet"
    margin: float = Hyperparameter(
        0.2, low=0.04, high=0.5, minimum=0.0, symbol="m", unit="distance", description="published down to .045"
    )

    def against(self, pairing: Pairing, noise: Tensor | None) -> Tensor:
        pairs = self.measured(pairing)
        if self.sampling == "all":
            return batch_all_triplet(pairs, self.margin)
        negative = self.chosen_distances(pairs, self.margin, pairing.anchors.shape[1], noise)  # (B, B)
        valid = pairs.positives & pairs.negatives.any(1, keepdim=True)
        hinge = torch.where(valid, pairs.distances - negative + self.margin, 0.0).relu()
        return hinge.sum() / (hinge > 0).sum().clamp_min(1)
