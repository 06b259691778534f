"""Lifted structured losses: each positive pair against all negatives of both its ends."""

from __future__ import annotations

import torch
from torch import Tensor

from mlcompare.geometry import masked_logsumexp, masked_mean
from mlcompare.losses.citation import cite
from mlcompare.losses.pair import PairLoss
from mlcompare.losses.pairing import Pairing
from mlcompare.losses.triplet import HERMANS_BIBTEX
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["GeneralizedLiftedStructure", "LiftedStructure"]


@register_loss(
    "lifted_structure",
    family="metric",
    reference="Oh Song et al. 2016, arXiv:1511.06452, eq. 4",
    bibtex=cite(
        "ohsong2016deep",
        "Oh Song, Hyun and Xiang, Yu and Jegelka, Stefanie and Savarese, Silvio",
        "Deep Metric Learning via Lifted Structured Feature Embedding",
        venue="Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition (CVPR)",
        year=2016,
        arxiv="1511.06452",
    ),
)
class LiftedStructure(PairLoss):
    """Lifted structured loss: ``1/(2|P|) Σ_{(i,j)∈P} [log(Σ_{k∈N_i} e^{m−D_ik} + Σ_{l∈N_j} e^{m−D_jl}) + D_ij]₊²``.

    P are the positive pairs, N_i the negatives of i, D the Euclidean distances ``(B, B)`` of the normalised embeddings
    (the paper's code has raw ones: ``normalize=False``). This is the smooth upper bound that is trained, not the max
    form it starts from, and not the generalised one (:class:`GeneralizedLiftedStructure`). Value and gradient were
    compared with pytorch-metric-learning's; the equation was not checked against the paper.

    >>> import torch
    >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    >>> loss = LiftedStructure(margin=1.0)(x, torch.tensor([0, 0, 1]))  # ½·[log(2·e^{1−2}) + 0]₊²
    >>> loss.item()
    0.0
    """

    margin: float = Hyperparameter(1.0, low=0.5, high=2.0, minimum=0.0, symbol="m", unit="distance")

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        distances, positives, negatives = self.pairs(embeddings, labels)
        lifted = masked_logsumexp(self.margin - distances, negatives)  # (B,): log Σ_{k∈N_i} e^{m−D_ik}
        pair = torch.logaddexp(lifted[:, None], lifted[None, :]) + distances  # (B, B)
        return 0.5 * masked_mean(pair.relu().square(), positives)


@register_loss(
    "generalized_lifted_structure",
    family="metric",
    reference="Hermans et al. 2017, arXiv:1703.07737, eq. 7",
    bibtex=HERMANS_BIBTEX,
)
class GeneralizedLiftedStructure(PairLoss):
    """Generalised lifted structured loss: the mean over anchors of ``[log Σ_p e^{D_ap} + log Σ_n e^{m−D_an}]₊``.

    All positives of an anchor pull as well, not one pair at a time as in :class:`LiftedStructure`. Anchors that lack
    a positive or a negative are dropped; zeros count in the mean. D as there. Value
    and gradient were compared with pytorch-metric-learning's; not checked against the paper.

    >>> import torch
    >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    >>> loss = GeneralizedLiftedStructure(margin=2.5)(x, torch.tensor([0, 0, 1]))  # [0 + (2.5 − 2)]₊
    >>> round(loss.item(), 4)
    0.5
    """

    margin: float = Hyperparameter(1.0, low=0.5, high=2.0, minimum=0.0, symbol="m", unit="distance")

    def against(self, pairing: Pairing, noise: Tensor | None) -> Tensor:
        distances, positives, negatives = self.measured(pairing)
        pull = masked_logsumexp(distances, positives)  # (B,)
        push = masked_logsumexp(self.margin - distances, negatives)  # (B,)
        return masked_mean((pull + push).relu(), positives.any(1) & negatives.any(1))
