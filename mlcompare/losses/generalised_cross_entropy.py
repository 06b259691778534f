"""Generalised cross-entropy: between cross-entropy and mean absolute error, for labels that may be wrong."""

from __future__ import annotations

import torch
from torch import Tensor

from mlcompare.losses.citation import cite
from mlcompare.losses.softmax import LinearHead
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["GeneralisedCrossEntropy"]


@register_loss(
    "generalised_cross_entropy",
    family="margin",
    reference="Zhang & Sabuncu 2018, arXiv:1805.07836",
    aliases=("generalized_cross_entropy",),
    bibtex=cite(
        "zhang2018generalized",
        "Zhang, Zhilu and Sabuncu, Mert R.",
        "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels",
        venue="Advances in Neural Information Processing Systems (NeurIPS)",
        year=2018,
        arxiv="1805.07836",
    ),
)
class GeneralisedCrossEntropy(LinearHead):
    """Generalised cross-entropy: the batch mean of ``(1 − p_y^q)/q`` over plain softmax.

    q → 0 is cross-entropy, q = 1 the mean absolute error ``1 − p_y``. A sample's gradient is that of its cross-entropy
    times ``p_y^q``: what the model finds unlikely, as it does wrong labels, pulls less, and no sample costs more than
    1/q. q = .7 is the paper's. Embeddings ``(B, D)``, class weights ``(C, D)`` and bias ``(C,)`` are free. It is not
    focal loss, which plays down the likely samples instead, and not the paper's truncated version, which drops samples
    with ``p_y < k`` every few epochs.

    Value and gradient were compared with TruncatedLoss.py of AlanChou/Truncated-Loss, not the authors' own, without its
    truncation and up to a constant. The range is a choice of this package's.

    >>> loss = GeneralisedCrossEntropy(num_classes=2, embedding_dim=2, q=0.5)
    >>> round(loss(torch.zeros(1, 2), torch.tensor([0])).item(), 4)  # (1 − √½)/½
    0.5858
    """

    group = "noise"
    q: float = Hyperparameter(0.7, low=0.1, high=1.0, positive=True, maximum=1.0, symbol="q")

    def each(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        log_p = self.logits(embeddings).log_softmax(1).gather(1, labels[:, None])  # (B, 1)
        return (-torch.expm1(self.q * log_p) / self.q).squeeze(1)
