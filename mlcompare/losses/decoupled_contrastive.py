"""Decoupled contrastive loss: NT-Xent without the positive in its denominator."""

from __future__ import annotations

import torch
from torch import Tensor

from mlcompare.geometry import FAR, masked_logsumexp, masked_mean
from mlcompare.losses.citation import cite
from mlcompare.losses.pairing import AnchorLoss, Pairing
from mlcompare.registry import Hyperparameter, Option, register_loss

__all__ = ["DecoupledContrastive"]


@register_loss(
    "decoupled_contrastive",
    family="metric",
    reference="Yeh et al. 2022, arXiv:2110.06848",
    bibtex=cite(
        "yeh2022decoupled",
        "Yeh, Chun-Hsiao and Hong, Cheng-Yao and Hsu, Yen-Chi and Liu, Tyng-Luh and Chen, Yubei and LeCun, Yann",
        "Decoupled Contrastive Learning",
        venue="European Conference on Computer Vision (ECCV)",
        year=2022,
        arxiv="2110.06848",
    ),
)
class DecoupledContrastive(AnchorLoss):
    """Decoupled contrastive (DCL): the mean over positive pairs of ``−w_ap·s_ap/τ + log Σ_n e^{s_an/τ}``.

    s are cosines of embeddings ``(B, D)``, the negatives all samples of other classes.
    :class:`~mlcompare.losses.nt_xent.NTXent` has the positive in the sum as well, which weakens its gradient as soon as
    the positive is near, the more the smaller the batch; here it is left out. The value has no lower bound of 0.
    ``weighted`` (DCLW) puts ``w_ap = 2 − N·softmax(s/σ)`` before the positives, a softmax over all N positive pairs of
    the batch: far pairs pull more; otherwise w = 1. Pairs whose anchor has no negative are dropped.

    With two samples of each class, value and gradient were compared with loss/dcl.py of
    raminnakhli/Decoupled-Contrastive-Learning, not the authors' own, both ways of its pairs, weighted and not. τ and σ
    are its defaults, the ranges a choice of this package's.

    >>> x, y = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> round(DecoupledContrastive(temperature=1.0)(x, y).item(), 4)  # −1 + log e^0
    -1.0
    """

    group = "pair"
    temperature: float = Hyperparameter(0.1, low=0.02, high=1.0, log=True, positive=True, symbol="τ")
    sigma: float = Hyperparameter(0.5, low=0.1, high=2.0, log=True, positive=True, symbol="σ", description="of weights")
    weighted: bool = Option(False, choices=(False, True), description="weigh far positive pairs up")

    def against(self, pairing: Pairing, noise: Tensor | None) -> Tensor:
        cosine = pairing.cosines  # (B, M)
        positives, negatives = pairing.positives, pairing.negatives
        pairs = positives & negatives.any(1, keepdim=True)  # (B, B)
        push = masked_logsumexp(cosine / self.temperature, negatives)[:, None]  # (B, 1)
        pull = cosine / self.temperature
        if self.weighted:
            shares = torch.where(pairs, cosine / self.sigma, -FAR).flatten().softmax(0).view_as(cosine)
            pull = (2 - pairs.sum() * shares) * pull
        return masked_mean(push - pull, pairs)
