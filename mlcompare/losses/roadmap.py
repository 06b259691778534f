"""ROADMAP: an upper bound of one less the average precision, and a term that gives similarities a common scale."""

from __future__ import annotations

import torch
from torch import Tensor

from mlcompare.geometry import Number, cosine_similarities, masked_mean, scalar
from mlcompare.losses.base import Loss
from mlcompare.losses.citation import cite
from mlcompare.losses.ranking import QUERY, gaps, listed
from mlcompare.losses.threshold_consistent import between_margins
from mlcompare.registry import Hyperparameter, Option, register_loss

__all__ = ["Roadmap"]


def step(gap: Tensor, temperature: Number, slope: Number, width: Number) -> Tensor:
    """Return how far a negative counts as standing before a positive, by its ``gap`` s_n − s_p: never less than it is.

    σ(x/τ) below 0, ½ + σ(x/τ) up to δ, and from there on a line of slope ρ, so that far violations keep a gradient.
    """
    near = torch.sigmoid(gap / temperature)
    ahead = gap > 0
    line = slope * (gap - width) + torch.sigmoid(scalar(width) / temperature)
    return torch.where(gap > width, line, near) + 0.5 * ahead


@register_loss(
    "roadmap",
    family="metric",
    reference="Ramzi et al. 2021, arXiv:2110.01445",
    bibtex=cite(
        "ramzi2021robust",
        "Ramzi, Elias and Thome, Nicolas and Rambour, Clément and Audebert, Nicolas and Bitot, Xavier",
        "Robust and Decomposable Average Precision for Image Retrieval",
        venue="Advances in Neural Information Processing Systems (NeurIPS)",
        year=2021,
        arxiv="2110.01445",
    ),
)
class Roadmap(Loss):
    """ROADMAP: ``(1 − λ)·L_SupAP + λ·L_calibration``.

    SupAP is :class:`~mlcompare.losses.smooth_ap.SmoothAP`'s mean over anchors of ``1 − 1/|P| Σ_p R⁺(p)/R(p)`` with
    ``R(p) = R⁺(p) + Σ_n H(s_an − s_ap)``: positives are ranked exactly, without gradient, and a negative counts by H, a
    sigmoid of τ below 0, ½ more above it and, past δ, a line of slope ρ. H is never less than the step it stands for,
    so that the loss bounds one less the average precision from above, and a negative far ahead still has a gradient.
    The calibration is the mean of the active ``[m_p − s_ap]₊`` plus that of the active ``[s_an − m_n]₊``: a batch's
    ranks add up to those of a whole gallery only where similarities have one scale. s are cosines of embeddings
    ``(B, D)``; memory is ``O(B³)``.

    ``query="counted"`` keeps the anchor in its own list as a positive: so does the authors' code (elias-ramzi/ROADMAP),
    with which value and gradient of that option were compared, at the weights 1 and 1 of its config (twice λ = ½), at
    the offset that makes H continuous, which the config rounds to 1.44, and with its steps of positives detached.
    Ranges are a choice of this package's.

    >>> x, y = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]), torch.tensor([0, 0, 1])
    >>> round(Roadmap()(x, y).item(), 4)
    0.0
    """

    group = "list"
    weight: float = Hyperparameter(0.5, low=0.0, high=1.0, minimum=0.0, maximum=1.0, symbol="λ")
    temperature: float = Hyperparameter(0.01, low=0.002, high=0.2, log=True, positive=True, symbol="τ")
    slope: float = Hyperparameter(100.0, low=10.0, high=1000.0, log=True, positive=True, symbol="ρ")
    width: float = Hyperparameter(0.05, minimum=0.0, symbol="δ", unit="cosine", description="where the line begins")
    positive_margin: float = Hyperparameter(
        0.9, low=0.5, high=1.0, minimum=-1.0, maximum=1.0, symbol="m_p", unit="cosine"
    )
    negative_margin: float = Hyperparameter(
        0.6, low=0.0, high=0.8, minimum=-1.0, maximum=1.0, symbol="m_n", unit="cosine"
    )
    query: str = Option("left_out", choices=QUERY, description="whether an anchor is in its own list")

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        cosine = cosine_similarities(embeddings, embeddings)  # (B, B)
        everyone, relevant = listed(labels, self.query)  # (B, B)
        gap = gaps(cosine)  # (B, B, B)
        itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        ahead = (gap >= 0) & relevant[:, None, :] & ~itself  # (B, B, B): positives before p
        own = 1 + ahead.sum(2).to(cosine.dtype)  # (B, B): R⁺
        negatives = (everyone & ~relevant)[:, None, :]  # (B, 1, B)
        others = torch.where(negatives, step(gap, self.temperature, self.slope, self.width), 0.0).sum(2)  # (B, B)
        count = relevant.sum(1)  # (B,)
        average = torch.where(relevant, own / (own + others), 0.0).sum(1) / count.clamp_min(1)  # (B,)
        ranking = masked_mean(1 - average, count > 0)
        calibration = between_margins(cosine, labels, self.positive_margin, self.negative_margin)
        return (1 - self.weight) * ranking + self.weight * calibration
