"""Heated-up softmax: NormFace with a scale that falls at the end of training."""

from __future__ import annotations

import torch
from torch import Tensor

from mlcompare.losses.citation import cite
from mlcompare.losses.head import CosineHead
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["HeatedUpSoftmax"]


@register_loss(
    "heated_up_softmax",
    family="margin",
    reference="Zhang et al. 2018, arXiv:1809.04157",
    bibtex=cite(
        "zhang2018heated",
        "Zhang, Xu and Yu, Felix Xinnan and Karaman, Svebor and Zhang, Wei and Chang, Shih-Fu",
        "Heated-Up Softmax Embedding",
        year=2018,
        arxiv="1809.04157",
    ),
)
class HeatedUpSoftmax(CosineHead):
    """Heated-up softmax: ``CE(α·cos θ_j)`` with a scale α (an inverse temperature) that drops near the end.

    α is ``start`` until the last ``tail`` of training, and ``start · factor`` in it: by default 16, then 4. A large
    scale lets the boundary samples shape the embedding first; the small one (a hot softmax) then moves the well
    classified samples as well. The paper also lowers the learning rate by ten there, which belongs to the optimiser.
    A training says how far it is by ``loss.set_progress(done / total)`` before each step; until then it is at its end.
    Embeddings ``(B, D)`` and class weights ``(C, D)`` are normalised; with ``factor=1`` this is NormFace at s = start.

    >>> loss = HeatedUpSoftmax(num_classes=2, embedding_dim=2)
    >>> loss.set_progress(0.5); loss.current_scale().item()
    16.0
    >>> loss.set_progress(0.9); loss.current_scale().item()
    4.0
    """

    start: float = Hyperparameter(16.0, low=8.0, high=32.0, log=True, positive=True, symbol="α")
    factor: float = Hyperparameter(0.25, low=0.1, high=0.5, positive=True, description="end scale / start scale")
    tail: float = Hyperparameter(
        0.2, low=0.1, high=0.3, minimum=0.0, maximum=1.0, unit="share of training", description="how long it is hot"
    )

    def current_scale(self) -> Tensor:
        return torch.where(self.progress < 1 - self.tail, self.start, self.start * self.factor)
