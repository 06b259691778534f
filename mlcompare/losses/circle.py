"""Circle loss."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from mlcompare.geometry import masked_logsumexp, masked_mean
from mlcompare.losses.citation import cite
from mlcompare.losses.pairing import AnchorLoss, Pairing
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["Circle"]


@register_loss(
    "circle",
    family="metric",
    reference="Sun et al. 2020, arXiv:2002.10857, eq. 6–8",
    bibtex=cite(
        "sun2020circle",
        "Sun, Yifan and Cheng, Changmao and Zhang, Yuhan and Zhang, Chi and Zheng, Liang and Wang, Zhongdao and "
        "Wei, Yichen",
        "Circle Loss: A Unified Perspective of Pair Similarity Optimization",
        venue="Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
        year=2020,
        arxiv="2002.10857",
    ),
)
class Circle(AnchorLoss):
    """Circle loss: the mean over anchors of ``log(1 + Σ_n e^{γ[s_n+m]₊(s_n−m)} · Σ_p e^{−γ[1+m−s_p]₊(s_p−1+m)})``.

    s are cosines of embeddings ``(B, D)``. The weights ``[·]₊`` carry no gradient: each similarity is paced by its
    distance from its optimum. Anchors that lack a positive or a negative are dropped. This is the pair-wise form, not
    the one over class weights.

    >>> import torch
    >>> x, y = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> round(Circle(margin=0.5, gamma=1.0)(x, y).item(), 4)  # log(1 + e^{.5·(−.5)}·e^{−.5·.5})
    0.4741
    """

    group = "pair"
    exact_gradient = False
    margin: float = Hyperparameter(0.4, low=0.1, high=0.5, minimum=0.0, symbol="m", unit="cosine")
    gamma: float = Hyperparameter(80.0, low=16.0, high=256.0, log=True, positive=True, symbol="γ", description="scale")

    def against(self, pairing: Pairing, noise: Tensor | None) -> Tensor:
        cosine = pairing.cosines  # (B, M)
        positives, negatives = pairing.positives, pairing.negatives
        fixed = cosine.detach()
        push = self.gamma * (fixed + self.margin).relu() * (cosine - self.margin)  # (B, B)
        pull = -self.gamma * (1 + self.margin - fixed).relu() * (cosine - 1 + self.margin)
        total = masked_logsumexp(push, negatives) + masked_logsumexp(pull, positives)  # (B,)
        return masked_mean(F.softplus(total, threshold=50.0), positives.any(1) & negatives.any(1))
