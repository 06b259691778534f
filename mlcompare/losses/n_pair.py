"""N-pair loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mlcompare.geometry import FAR
from mlcompare.losses.base import Loss
from mlcompare.losses.citation import cite
from mlcompare.losses.noise import one_for_each_sample
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["NPair", "one_pair_of_each_class"]

SKIP = -100  # cross-entropy leaves such targets out


def one_pair_of_each_class(labels: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return a pair of each class that has one: anchors, positives (indices) and which count, each ``(B // 2,)``.

    Of each class, the sample with the largest ``noise (B,)`` is the positive and the next one the anchor.

    >>> one_pair_of_each_class(torch.tensor([0, 0, 1, 1, 2]), torch.tensor([0.2, 0.7, 0.9, 0.1, 0.5]))
    (tensor([0, 3]), tensor([1, 2]), tensor([True, True]))
    """
    order = noise.argsort(descending=True)  # (B,)
    order = order.gather(0, labels.gather(0, order).argsort(stable=True))  # by class, then by noise
    ranked = labels.gather(0, order)  # (B,)
    repeats = ranked == torch.cat([ranked[:1] - 1, ranked[:-1]])  # (B,): the class of the one before
    second = repeats & ~torch.cat([repeats[:1], repeats[:-1]])  # (B,): the second of its class
    place = second.to(torch.int8).argsort(descending=True, stable=True)[: len(labels) // 2]  # (B // 2,)
    return order.gather(0, place), order.gather(0, (place - 1).clamp_min(0)), second.gather(0, place)


@register_loss(
    "n_pair",
    family="metric",
    reference="Sohn 2016, Improved Deep Metric Learning with Multi-class N-pair Loss Objective, NeurIPS, eq. 7",
    stochastic=True,
    bibtex=cite(
        "sohn2016improved",
        "Sohn, Kihyuk",
        "Improved Deep Metric Learning with Multi-class N-pair Loss Objective",
        venue="Advances in Neural Information Processing Systems (NeurIPS)",
        year=2016,
    ),
)
class NPair(Loss):
    """N-pair loss: ``mean_i −log e^{a_iᵀp_i} / (e^{a_iᵀp_i} + Σ_{j≠i} e^{a_iᵀp_j}) + λ·mean‖x‖²``, one (a, p) a class.

    Each class of the batch gives one anchor a and one positive p (drawn by ``noise[0]``; classes with a single sample
    give none), and the positives of the other classes are the negatives: the paper's N pairs. Embeddings ``(B, D)`` are
    raw: λ, over the whole batch, not normalisation, keeps them small. It is not NT-Xent, which uses all negatives and
    cosines.

    >>> x, y = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), torch.tensor([0, 0, 1, 1])
    >>> round(NPair(weight=0.0)(x, y).item(), 4)  # log(1 + e^{0 − 1})
    0.3133
    """

    group = "pair"
    weight: float = Hyperparameter(0.002, low=1e-4, high=0.1, log=True, minimum=0.0, symbol="λ")

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        assert noise is not None  # `forward` draws it: the loss is stochastic
        anchors, positives, valid = one_pair_of_each_class(labels, noise[0])  # (H,) each, H = B // 2
        products = embeddings.index_select(0, anchors) @ embeddings.index_select(0, positives).T  # (H, H)
        own = torch.where(valid, torch.arange(len(valid), device=valid.device), SKIP)  # (H,): a_i belongs to p_i
        terms = F.cross_entropy(products.masked_fill(~valid, -FAR), own, ignore_index=SKIP, reduction="sum")
        return terms / valid.sum().clamp_min(1) + self.weight * embeddings.square().sum(1).mean()

    def draw_noise(
        self, batch_size: int, *, generator: torch.Generator | None = None, device: torch.device | str | None = None
    ) -> Tensor:
        """Return noise ``(B, B)`` whose rows are alike: the loss reads the first."""
        return one_for_each_sample(batch_size, generator, device)
