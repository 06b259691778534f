"""Logit-adjusted (balanced) softmax: what the classes' frequencies explain is left to them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mlcompare.losses.citation import cite
from mlcompare.losses.counts import register_counts
from mlcompare.losses.softmax import LinearHead
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["LogitAdjustedSoftmax"]


@register_loss(
    "logit_adjusted_softmax",
    family="margin",
    reference="Menon et al. 2021, arXiv:2007.07314; balanced softmax: Ren et al. 2020, arXiv:2007.10740",
    aliases=("balanced_softmax",),
    bibtex=cite(
        "menon2021longtail",
        "Menon, Aditya Krishna and Jayasumana, Sadeep and Rawat, Ankit Singh and Jain, Himanshu and Veit, Andreas and "
        "Kumar, Sanjiv",
        "Long-tail Learning via Logit Adjustment",
        venue="International Conference on Learning Representations (ICLR)",
        year=2021,
        arxiv="2007.07314",
    )
    + "\n\n"
    + cite(
        "ren2020balanced",
        "Ren, Jiawei and Yu, Cunjun and Sheng, Shunan and Ma, Xiao and Zhao, Haiyu and Yi, Shuai and Li, Hongsheng",
        "Balanced Meta-Softmax for Long-Tailed Visual Recognition",
        venue="Advances in Neural Information Processing Systems (NeurIPS)",
        year=2020,
        arxiv="2007.10740",
    ),
)
class LogitAdjustedSoftmax(LinearHead):
    """Logit-adjusted softmax: ``CE(w_jᵀx + b_j + τ·log π_j)`` with π_j the share of class j in the training samples.

    τ = 1, the default, is balanced softmax (``log π_j`` and ``log n_j`` differ by a constant, which a softmax doesn't
    see): one loss, two names. A prediction leaves the adjustment out, so that a rare class needs larger logits to be
    learned and gets them. τ = 0, or no ``class_counts``, is plain softmax. Embeddings ``(B, D)``, class weights
    ``(C, D)`` and bias ``(C,)`` are free, nothing is normalised. It adjusts the loss; it is not the paper's other
    proposal, which subtracts τ·log π_j from the logits of a finished softmax.

    Value and gradient were compared with loss/BalancedSoftmaxLoss.py of jiawei-ren/BalancedMetaSoftmax-Classification
    (τ = 1) and with build_loss_fn of google-research/logit_adjustment, its TensorFlow calls replaced by torch's, which
    adds 1e-12 to π^τ. The range is a choice of this package's.

    >>> loss = LogitAdjustedSoftmax(num_classes=2, embedding_dim=2, class_counts=[3, 1])
    >>> round(loss(torch.zeros(1, 2), torch.tensor([1])).item(), 4)  # −log(1/4)
    1.3863
    """

    group = "long_tail"
    class_rows = ("class_weights", "bias", "counts")
    tau: float = Hyperparameter(
        1.0, low=0.25, high=2.0, minimum=0.0, symbol="τ", description="strength of the adjustment"
    )

    counts: Tensor

    def setup(self, generator: torch.Generator | None) -> None:
        super().setup(generator)
        register_counts(self, self.num_classes)

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        return F.cross_entropy(self.logits(embeddings) + self.tau * self.counts.log(), labels)
