"""Losses of a hierarchy: labels of several levels, the class first, then the groups that it lies in."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mlcompare.geometry import cosine_similarities, masked_logsumexp, masked_mean
from mlcompare.losses.base import Loss
from mlcompare.losses.citation import cite
from mlcompare.losses.label_forms import LEVELS, shared_levels
from mlcompare.losses.pair import PairLoss, Pairs
from mlcompare.losses.triplet import active_triplets
from mlcompare.registry import Hyperparameter, Option, register_loss

__all__ = ["HierarchicalSupCon", "HierarchicalTriplet"]


def _levels(labels: Tensor) -> Tensor:
    """Return labels as levels ``(B, L)``; classes ``(B,)`` are one level."""
    return labels if labels.ndim == 2 else labels[:, None]


@register_loss(
    "hierarchical_supcon",
    family="metric",
    reference="Zhang et al. 2022, arXiv:2204.13207 (HiMulConE)",
    aliases=("himulcone",),
    bibtex=cite(
        "zhang2022use",
        "Zhang, Shu and Xu, Ran and Xiong, Caiming and Ramaiah, Chetan",
        "Use All The Labels: A Hierarchical Multi-Label Contrastive Learning Framework",
        venue="Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
        year=2022,
        arxiv="2204.13207",
    ),
)
class HierarchicalSupCon(Loss):
    """Hierarchical supervised contrastive (HiMulConE): ``1/L Σ_l e^{1/l}·max(L_1, …, L_l)``, L_l that of level l.

    Labels ``(B, L)``: column 1 is the class, column 2 the group that the class lies in, and so on to the coarsest; a
    sample's positives at level l agree with it in column l and in all coarser ones. L_l is
    :class:`~mlcompare.losses.nt_xent.SupCon` over these positives, of embeddings ``(B, D)`` by their cosines: at the
    class over the whole batch, at each coarser level over one sample of each group of the level below: of a class its
    first in the batch (so the order of the batch counts), of a larger group that of its lowest label. ``e^{1/l}``
    weighs finer levels more, and the maximum holds a coarser level to be no better than a finer one (``constraint:
    false`` leaves it out: HiMulCon). Anchors without a positive are dropped. With labels ``(B,)``, one level, it is e
    times SupCon.

    Value and gradient were compared with HMLC of the authors' repository (salesforce/hierarchicalContrastiveLearning,
    ``hmce`` and ``hmc``, with the penalty ``torch.exp`` of its training script), whose columns run from the coarsest
    to the image itself, and which divides by their number, L + 1; its anchors without a positive give NaN. Its batches
    hold siblings at every level by construction, here they do by chance: the more classes a batch has, the more. Its
    τ is .07; .1 is that of SupCon here.

    >>> x, levels = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0, 0], [0, 0], [1, 0]])
    >>> loss = HierarchicalSupCon(temperature=1.0)
    >>> round(loss(x, levels).item(), 4)  # ½·(e·log(1 + 1/e) + √e·max(that logarithm, log 1))
    0.684
    """

    group = "labels"
    label_form = LEVELS
    temperature: float = Hyperparameter(
        0.1, low=0.02, high=1.0, log=True, positive=True, symbol="τ", description="the authors' code: .07"
    )
    constraint: bool = Option(
        True, choices=(True, False), description="a coarser level's loss is no less than a finer's"
    )

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        levels = _levels(labels)
        shared = shared_levels(levels)  # (B, B)
        count, depth = levels.shape
        scaled = cosine_similarities(embeddings, embeddings) / self.temperature  # (B, B)
        others = ~torch.eye(count, dtype=torch.bool, device=labels.device)
        earlier = torch.ones_like(others).tril(-1)  # (B, B): columns before the row
        kept = torch.ones(count, dtype=torch.bool, device=labels.device)  # (B,)
        total = worst = torch.zeros((), dtype=embeddings.dtype, device=embeddings.device)
        for level in range(depth):
            among = kept[:, None] & kept[None, :] & others
            value = _supcon(scaled, among & (shared <= level), among)
            worst = torch.maximum(worst, value) if self.constraint and level > 0 else value
            total = total + math.exp(1 / (level + 1)) * worst
            before = earlier if level == 0 else levels[None, :, level - 1] < levels[:, None, level - 1]  # (B, B)
            kept = kept & ~((shared <= level) & before & kept[None, :]).any(1)  # one of each group
        return total / depth


def _supcon(scaled: Tensor, positives: Tensor, among: Tensor) -> Tensor:
    """Return the supervised contrastive loss with ``among (B, B)`` in the denominator, of anchors with positives."""
    count = positives.sum(1)  # (B,)
    mean = torch.where(positives, scaled, 0.0).sum(1) / count.clamp_min(1)  # (B,)
    return masked_mean(masked_logsumexp(scaled, among) - mean, count > 0)


@register_loss(
    "hierarchical_triplet",
    family="metric",
    reference="after Zhang et al. 2016, arXiv:1512.02895 (not verified)",
    bibtex=cite(
        "zhang2016embedding",
        "Zhang, Xiaofan and Zhou, Feng and Lin, Yuanqing and Zhang, Shaoting",
        "Embedding Label Structures for Fine-Grained Feature Representation",
        venue="Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition (CVPR)",
        year=2016,
        arxiv="1512.02895",
    ),
)
class HierarchicalTriplet(PairLoss):
    """Hierarchical triplet: the mean of the active ``[d_ap − d_an + m·(l_an − l_ap)]₊`` where ``l_ap < l_an``.

    l is how far two samples are apart in the hierarchy: 0 in one class, 1 in one group of classes, …, L where they
    share nothing; labels ``(B, L)`` have the class first, then coarser groups. So a sibling class is a negative beside
    the class and a positive beside strangers, and strangers are pushed away by a margin for each level that lies in
    between. d is the Euclidean distance of the normalised embeddings ``(B, D)``. With labels ``(B,)``, one level, it is
    :class:`~mlcompare.losses.triplet.Triplet`.

    The generalised triplet loss of the paper has quadruplets of a class, a sibling class and a stranger, with the
    margins m_1 − m_2 and m_2 between neighbouring levels; neither paper nor code was read (not verified). All triplets
    of all levels, and one margin for each step, are this package's, and so is m = .1, half of ``triplet``'s. It is not
    the hierarchical triplet loss of Ge et al. 2018, which finds its tree in the data.

    >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> round(HierarchicalTriplet(margin=0.2)(x, torch.tensor([[0, 0], [1, 0], [2, 1]])).item(), 4)  # from the last two
    0.0
    >>> round(HierarchicalTriplet(margin=0.2)(x, torch.tensor([[0, 0], [1, 1], [2, 0]])).item(), 4)  # √2 − 0 + m, m
    0.9071
    """

    group = "labels"
    label_form = LEVELS
    margin: float = Hyperparameter(
        0.1, low=0.02, high=0.5, minimum=0.0, symbol="m", unit="distance", description="for each level in between"
    )

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        distances = self.pairs(embeddings, _levels(labels)[:, 0]).distances  # (B, B)
        shared = shared_levels(_levels(labels))  # (B, B)
        others = ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        depth = 1 if labels.ndim == 1 else labels.shape[1]
        total = count = torch.zeros((), dtype=distances.dtype, device=distances.device)
        for near in range(depth):
            for far in range(near + 1, depth + 1):
                pairs = Pairs(distances, (shared == near) & others, shared == far)
                hinges, active = active_triplets(pairs, (far - near) * self.margin)
                total, count = total + hinges, count + active
        return total / count.clamp_min(1)
