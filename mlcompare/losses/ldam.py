"""LDAM: rare classes get larger margins."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mlcompare.losses.citation import cite
from mlcompare.losses.counts import effective_weights, register_counts
from mlcompare.losses.head import MarginHead
from mlcompare.registry import Hyperparameter, Option, register_loss

__all__ = ["LDAM"]


@register_loss(
    "ldam",
    family="margin",
    reference="Cao et al. 2019, arXiv:1906.07413",
    bibtex=cite(
        "cao2019learning",
        "Cao, Kaidi and Wei, Colin and Gaidon, Adrien and Arechiga, Nikos and Ma, Tengyu",
        "Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss",
        venue="Advances in Neural Information Processing Systems (NeurIPS)",
        year=2019,
        arxiv="1906.07413",
    ),
)
class LDAM(MarginHead):
    """LDAM: CosFace with a margin for each class, ``m_j = m·(n_min/n_j)^¼``, and rare classes weighted up in the end.

    n_j is the number of training samples of class j (``class_counts``); the rarest class gets m, more frequent ones
    less. Without counts it is :class:`~mlcompare.losses.cosface.CosFace`. With ``reweighting="deferred"``, the paper's
    DRW and the official command, the cross-entropies of the last part of the training (from ``start`` on: 160 of 200
    epochs) are weighted by ``(1 − β)/(1 − β^{n_y})``, and their mean is a weighted one; ``"none"`` leaves the margins
    alone. Embeddings ``(B, D)`` and class weights ``(C, D)`` are normalised, as in the official classifier. It is not
    :class:`~mlcompare.losses.dynamic_arcface.DynamicArcFace`, whose margins are on the angle.

    Value and gradient, before and after the deferral, were compared with losses.py of the authors' repository
    (kaidic/LDAM-DRW), from which the defaults are as well; ranges are a choice of this package's.

    >>> loss = LDAM(num_classes=2, embedding_dim=2, class_counts=[16, 1], margin=0.5, scale=1.0, reweighting="none")
    >>> _ = loss.class_weights.data.copy_(torch.eye(2))
    >>> round(loss(torch.tensor([[3.0, 0.0]]), torch.tensor([0])).item(), 4)  # m_0 = .5/16^¼: log(1 + e^{−(1 − .25)})
    0.3869
    """

    group = "long_tail"
    class_rows = ("class_weights", "counts")
    margin: float = Hyperparameter(
        0.5, low=0.0, high=0.8, minimum=0.0, symbol="m", unit="cosine", description="of the rarest class"
    )
    beta: float = Hyperparameter(
        0.9999, low=0.9, high=0.9999, minimum=0.0, maximum=0.999999, symbol="β", description="of the deferred weights"
    )
    start: float = Hyperparameter(
        0.8, minimum=0.0, maximum=1.0, unit="share of the training", description="when the weights set in"
    )
    reweighting: str = Option("deferred", choices=("deferred", "none"), description="weight rare classes up in the end")

    counts: Tensor
    fewest: Tensor

    def setup(self, generator: torch.Generator | None) -> None:
        super().setup(generator)
        register_counts(self, self.num_classes)
        self.register_buffer("fewest", self.counts.min())  # of all classes, where a step sees a sample of them

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        logits, mine = self.scaled_cosines(embeddings, labels, self.scale)  # (B, C), (B, 1)
        margins = self.margin * (self.fewest / self.counts) ** 0.25  # (C,)
        changed = mine - self.scale * margins[labels][:, None]  # (B, 1)
        each = F.cross_entropy(logits.scatter(1, labels[:, None], changed.to(logits.dtype)), labels, reduction="none")
        if self.reweighting == "none":
            return each.mean()
        late = self.progress >= self.start
        weights = torch.where(late, effective_weights(self.counts, self.beta)[labels], 1.0)  # (B,)
        return (weights * each).sum() / weights.sum()
