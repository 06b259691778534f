"""N-pair loss."""

from __future__ import annotations

import torch
from torch import Tensor

from mlcompare.geometry import masked_logsumexp, masked_mean, negative_mask, positive_mask
from mlcompare.losses.base import Loss
from mlcompare.losses.citation import cite
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["NPair", "one_of_each_class"]


def one_of_each_class(labels: Tensor, noise: Tensor) -> Tensor:
    """Return ``(B, B)`` booleans: for each anchor (row), one sample of each class, the one with the largest noise.

    >>> one_of_each_class(torch.tensor([0, 0, 1]), torch.tensor([[0.2, 0.7, 0.1]]).expand(3, 3)).int()[0]
    tensor([0, 1, 1], dtype=torch.int32)
    """
    same = labels[:, None] == labels[None, :]  # (B, B)
    index = torch.arange(labels.shape[0], device=labels.device)
    first = torch.where(same, index, labels.shape[0]).amin(1)  # (B,): the first sample of each sample's class
    group = first.expand_as(noise)  # (B, B)
    largest = torch.zeros_like(noise).scatter_reduce(1, group, noise, "amax")  # (B, B), at the first samples
    return noise == largest.gather(1, group)


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
    """N-pair loss: ``mean −log e^{x_aᵀx_p} / (e^{x_aᵀx_p} + Σ_{j≠y} e^{x_aᵀx_j}) + λ·mean‖x‖²``.

    x_j is one sample of class j, drawn for each anchor (``noise``), so that a P×K batch generalises the paper's two
    samples a class. Embeddings ``(B, D)`` are raw: λ, not normalisation, keeps them small. The mean is over all
    positive pairs (a, p). It is not NT-Xent, which uses all negatives and cosines.

    >>> x, y = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> round(NPair(weight=0.0)(x, y).item(), 4)  # log(1 + e^{0 − 1})
    0.3133
    """

    kind = "pair"
    weight: float = Hyperparameter(0.002, low=1e-4, high=0.1, log=True, minimum=0.0, symbol="λ")

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        products = embeddings @ embeddings.T  # (B, B)
        met = negative_mask(labels) & one_of_each_class(labels, noise)
        others = masked_logsumexp(products, met)[:, None]  # (B, 1)
        terms = torch.logaddexp(others, products) - products  # (B, B): −log softmax of each p
        return masked_mean(terms, positive_mask(labels)) + self.weight * embeddings.square().sum(1).mean()
