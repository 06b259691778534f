"""Threshold-consistent margin: a term that keeps all pairs on their sides of two cosines."""

from __future__ import annotations

from torch import Tensor

from mlcompare.geometry import Number, cosine_similarities, masked_mean, negative_mask, positive_mask
from mlcompare.losses.base import Loss
from mlcompare.losses.citation import cite
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["ThresholdConsistentTerm", "between_margins"]


def between_margins(cosine: Tensor, labels: Tensor, positive: Number, negative: Number) -> Tensor:
    """Return the mean of the active ``[m_p − s]₊`` of positive pairs plus that of ``[s − m_n]₊`` of negative ones.

    ``cosine (B, B)``; a side without an active pair is 0.
    """
    low = positive_mask(labels) & (cosine < positive)  # (B, B)
    high = negative_mask(labels) & (cosine > negative)
    return masked_mean(positive - cosine, low) + masked_mean(cosine - negative, high)


@register_loss(
    "threshold_consistent_term",
    family="metric",
    reference="Zhang et al. 2024, arXiv:2307.04047",
    term=True,
    bibtex=cite(
        "zhang2024threshold",
        "Zhang, Qin and Xu, Linghan and Tang, Qingming and Fang, Jun and Wu, Ying Nian and Tighe, Joe and Xing, Yifan",
        "Threshold-Consistent Margin Loss for Open-World Deep Metric Learning",
        venue="International Conference on Learning Representations (ICLR)",
        year=2024,
        arxiv="2307.04047",
    ),
)
class ThresholdConsistentTerm(Loss):
    """Threshold-consistent margin (TCM): ``λ·(mean of [m_p − s_ap]₊ > 0 + mean of [s_an − m_n]₊ > 0)``, for a sum.

    s are cosines of embeddings ``(B, D)``; each mean is over the pairs on the wrong side of its margin, so that only
    hard pairs count, and all classes against the same two cosines: one threshold between them shall serve every class.
    It stands beside any other loss, ``{sum: [{loss: arcface}, {loss: threshold_consistent_term}]}``. The paper has a λ
    for each side; here they share one. Value and gradient were compared with pytorch-metric-learning's
    ThresholdConsistentMarginLoss, whose defaults these are; not with the authors' code. Ranges are a choice of this
    package's.

    >>> import torch
    >>> x, y = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6]]), torch.tensor([0, 0, 1])
    >>> round(ThresholdConsistentTerm()(x, y).item(), 4)  # (.9 − .6) + ((.8 − .5) + (.96 − .5))/2
    0.68
    """

    group = "term"
    weight: float = Hyperparameter(1.0, low=0.01, high=10.0, log=True, minimum=0.0, symbol="λ")
    positive_margin: float = Hyperparameter(
        0.9, low=0.5, high=1.0, minimum=-1.0, maximum=1.0, symbol="m_p", unit="cosine"
    )
    negative_margin: float = Hyperparameter(
        0.5, low=0.0, high=0.8, minimum=-1.0, maximum=1.0, symbol="m_n", unit="cosine"
    )

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        cosine = cosine_similarities(embeddings, embeddings)  # (B, B)
        return self.weight * between_margins(cosine, labels, self.positive_margin, self.negative_margin)
