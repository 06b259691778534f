"""Selectively contrastive triplets: hard negatives are pushed away alone, without the pull that may collapse them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mlcompare.geometry import FAR, cosine_similarities, masked_max, masked_mean, negative_mask, positive_mask
from mlcompare.losses.base import Loss
from mlcompare.losses.citation import cite
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["SelectiveContrastiveTriplet"]

SAME_IMAGE = 0.9999  # a positive that is nearer is the same image, which teaches nothing


@register_loss(
    "selective_contrastive_triplet",
    family="metric",
    reference="Xuan et al. 2020, arXiv:2007.12749",
    bibtex=cite(
        "xuan2020hard",
        "Xuan, Hong and Stylianou, Abby and Liu, Xiaotong and Pless, Robert",
        "Hard Negative Examples are Hard, but Useful",
        venue="European Conference on Computer Vision (ECCV)",
        year=2020,
        arxiv="2007.12749",
    ),
)
class SelectiveContrastiveTriplet(Loss):
    """Selectively contrastive triplets (SCT): ``λ·s_an`` where hard, else ``log(1 + e^{(s_an − s_ap)/τ})``, by anchor.

    The mean is over anchors. s are cosines of embeddings ``(B, D)``; p is the anchor's nearest positive, n its nearest
    negative. The triplet is hard where ``s_an > s_ap`` or ``s_an > limit``: there a triplet loss pulls anchor and
    negative along together, and training may collapse; SCT only pushes the negative away. Positives at a cosine above
    .9999 are taken for the same image and left out; anchors without a positive or a negative are dropped. The value may
    jump where a triplet turns hard. It is not :class:`~mlcompare.losses.trihard.TriHard`, which takes the farthest
    positive.

    Value and gradient were compared with _code/Loss.py of the authors' repository (littleredxh/HardNegative), whose
    constants these are; ranges are a choice of this package's.

    >>> x, y = torch.tensor([[1.0, 0.0], [0.8, 0.6], [-1.0, 0.0]]), torch.tensor([0, 0, 1])
    >>> round(SelectiveContrastiveTriplet(temperature=1.0)(x, y).item(), 4)  # log(1 + e^{−1.8}), log(1 + e^{−1.6})
    0.1684
    """

    group = "triplet"
    weight: float = Hyperparameter(
        1.0, low=0.1, high=2.0, log=True, minimum=0.0, symbol="λ", description="of hard triplets"
    )
    temperature: float = Hyperparameter(0.1, low=0.02, high=1.0, log=True, positive=True, symbol="τ")
    limit: float = Hyperparameter(
        0.8, low=0.5, high=1.0, minimum=-1.0, maximum=1.0, unit="cosine", description="above which a negative is hard"
    )

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        cosine = cosine_similarities(embeddings, embeddings)  # (B, B)
        positive = masked_max(cosine, positive_mask(labels) & (cosine <= SAME_IMAGE))  # (B,)
        negative = masked_max(cosine, negative_mask(labels))  # (B,)
        valid = (positive > -FAR / 2) & (negative > -FAR / 2)  # (B,)
        gap = torch.where(valid, negative - positive, 0.0)  # (B,)
        hard = (gap > 0) | (negative > self.limit)
        easy = F.softplus(gap / self.temperature, threshold=50.0)
        return masked_mean(torch.where(hard, self.weight * negative, easy), valid)
