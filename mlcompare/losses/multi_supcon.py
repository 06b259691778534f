"""Supervised contrastive for samples with several labels: pairs weigh by how much of their labels they share."""

from __future__ import annotations

import torch
from torch import Tensor

from mlcompare.geometry import cosine_similarities, masked_logsumexp, masked_mean
from mlcompare.losses.base import Loss
from mlcompare.losses.citation import cite
from mlcompare.losses.label_forms import SETS
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["MultiSupCon", "jaccard"]


def jaccard(labels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the share of two samples' labels that both have, ``(B, B)``: |A ∩ B| / |A ∪ B|, 0 of empty sets.

    Args:
        labels: ``(B, L)`` of 0 and 1, or classes ``(B,)``, sets of one.

    >>> jaccard(torch.tensor([[1, 1, 0], [0, 1, 1], [1, 1, 0]]))[0]
    tensor([1.0000, 0.3333, 1.0000])
    """
    if labels.ndim == 1:
        return (labels[:, None] == labels[None, :]).to(dtype)
    sets = labels.to(dtype)  # (B, L)
    both = sets @ sets.T  # (B, B)
    sizes = sets.sum(1)  # (B,)
    return both / (sizes[:, None] + sizes[None, :] - both).clamp_min(1)


@register_loss(
    "multi_supcon",
    family="metric",
    reference="Zaigrajew & Zieba 2022 (MultiSupCon; the paper was not read, the author's code was)",
    bibtex=cite(
        "zaigrajew2022contrastive",
        "Zaigrajew, Vladimir and Zieba, Maciej",
        "Contrastive Learning for Multi-Label Classification",
        venue="NeurIPS Workshop",
        year=2022,
    ),
)
class MultiSupCon(Loss):
    """MultiSupCon: ``mean_a −1/|P_a| Σ_p J_ap·log(e^{s_ap/τ} / Σ_{k≠a} e^{s_ak/τ})``, J_ap the labels that a, p share.

    Labels are sets ``(B, L)``: a column of 0 and 1 for each label, of which a sample may have several. J is the Jaccard
    index, labels that both have over labels that either has, and P_a the others with J_ap ≥ c. s are cosines of
    embeddings ``(B, D)``. With labels ``(B,)``, sets of one, it is :class:`~mlcompare.losses.nt_xent.SupCon`. It is not
    MulSupCon (Zhang & Wu, AAAI 2024), where an anchor counts once for each of its labels. A study gives each sample one
    class, so it is for loops of one's own: a plan refuses it.

    Value and gradient were compared with MultiSupConLoss of the author's repository (WolodjaZ/MultiSupContrast), of one
    view; there an anchor without a positive, or without labels, gives NaN, here it is dropped. Its defaults are
    τ = .07, c = .3; its script for CelebA has .1 and .2.

    >>> x, sets = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1, 1], [0, 1], [1, 0]])
    >>> round(MultiSupCon(temperature=1.0)(x, sets).item(), 4)  # J = ½, ½ and 0: (½·.8133 + ½·.3133 + ½·log 2)/3
    0.3033
    """

    group = "labels"
    label_form = SETS
    temperature: float = Hyperparameter(0.07, low=0.02, high=1.0, log=True, positive=True, symbol="τ")
    threshold: float = Hyperparameter(
        0.3, low=0.05, high=0.6, minimum=0.0, maximum=1.0, symbol="c", unit="share of the labels",
        description="that a pair must share to be a positive one",
    )  # fmt: skip

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        others = ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        share = jaccard(labels, embeddings.dtype)  # (B, B)
        positives = others & (share >= self.threshold) & (share > 0)
        scaled = cosine_similarities(embeddings, embeddings) / self.temperature  # (B, B)
        cost = masked_logsumexp(scaled, others)[:, None] - scaled  # (B, B): −log p
        count = positives.sum(1)  # (B,)
        mean = torch.where(positives, share * cost, 0.0).sum(1) / count.clamp_min(1)  # (B,)
        return masked_mean(mean, count > 0)
