"""Tuplet margin loss: a positive pair against all negatives of its anchor, eased by a slack angle."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from mlcompare.geometry import masked_logsumexp, masked_mean
from mlcompare.losses.angular import angle
from mlcompare.losses.citation import cite
from mlcompare.losses.pairing import AnchorLoss, Pairing
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["TupletMargin"]


@register_loss(
    "tuplet_margin",
    family="metric",
    reference="Yu & Tao 2019, Deep Metric Learning with Tuplet Margin Loss, ICCV",
    bibtex=cite(
        "yu2019deep",
        "Yu, Baosheng and Tao, Dacheng",
        "Deep Metric Learning with Tuplet Margin Loss",
        venue="Proceedings of the IEEE/CVF International Conference on Computer Vision (ICCV)",
        year=2019,
    ),
)
class TupletMargin(AnchorLoss):
    """Tuplet margin: the mean over positive pairs of ``log(1 + Σ_n e^{s(cos θ_an − cos(θ_ap − β))})``.

    θ are the angles of embeddings ``(B, D)``, the negatives all samples of other classes. β, the slack, makes a hard
    positive pair look nearer than it is, so that it doesn't dominate; a pair within β of each other looks farther
    again, and is pushed apart up to β. The intra-pair variance loss that the paper adds is left out. Pairs whose anchor
    has no negative cost nothing. Value and gradient were compared with pytorch-metric-learning's TupletMarginLoss,
    whose defaults these are (its 5.73° are .1); not with the paper. Ranges are a choice of this package's.

    >>> import torch
    >>> x, y = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> round(TupletMargin(scale=1.0, margin=0.0)(x, y).item(), 4)  # log(1 + e^{0 − 1})
    0.3133
    """

    group = "triplet"
    margin: float = Hyperparameter(
        0.1, low=0.0, high=0.4, minimum=0.0, maximum=3.1415, symbol="m", unit="rad", description="β, the slack"
    )
    scale: float = Hyperparameter(64.0, low=8.0, high=128.0, log=True, positive=True, symbol="s")

    def against(self, pairing: Pairing, noise: Tensor | None) -> Tensor:
        cosine = pairing.cosines  # (B, B)
        eased = self.scale * (angle(cosine) - self.margin).cos()  # (B, B)
        others = masked_logsumexp(self.scale * cosine, pairing.negatives)[:, None]  # (B, 1)
        return masked_mean(F.softplus(others - eased, threshold=50.0), pairing.positives)
